"""What `sddmm` means."""

from nnzoo_fast.ops.gather_scatter.reference import group_of_each


def reference(x, y, in_start, in_source, in_edge, out_start, out_target, out_edge):
    """<x[j], y[i]> over the last dimension, for each edge j -> i in the caller's order."""
    target = group_of_each(in_start, in_edge.shape[0])
    dots = (x.index_select(0, in_source) * y.index_select(0, target)).sum(-1)
    return dots.new_zeros(dots.shape).index_copy(0, in_edge.long(), dots)
