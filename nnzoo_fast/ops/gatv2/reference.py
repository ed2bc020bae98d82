"""What `gatv2` means."""

from torch.nn.functional import leaky_relu

from nnzoo_fast.ops.gat.reference import attend
from nnzoo_fast.ops.gather_scatter.reference import group_of_each


def reference(
    x, target, att, edge, in_start, in_source, in_edge, out_start, out_target, out_edge, slope, dropout, seed
):
    """`attend` with the scores <att, leaky_relu(x[j] + target[i] + edge[e])>."""
    to = group_of_each(in_start, in_source.shape[0])
    inside = x.index_select(0, in_source) + target.index_select(0, to)
    if edge is not None:
        inside = inside + edge.index_select(0, in_edge)
    scores = (leaky_relu(inside, slope) * att).sum(-1)
    return attend(x, scores, in_start, in_source, in_edge, dropout, seed)
