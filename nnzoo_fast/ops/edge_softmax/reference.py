"""What `edge_softmax` means."""

from nnzoo_fast.ops.gat.reference import softmax_of_groups
from nnzoo_fast.ops.gather_scatter.reference import group_of_each


def reference(scores, in_start, in_source, in_edge, out_start, out_target, out_edge):
    """The softmax of `scores` [E, *H] over the edges into the same target."""
    target = group_of_each(in_start, in_edge.shape[0])
    weights = softmax_of_groups(scores.index_select(0, in_edge), target, in_start.diff())
    return scores.new_zeros(scores.shape).index_copy(0, in_edge.long(), weights)
