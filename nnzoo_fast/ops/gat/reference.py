"""What `gat` means."""

import torch
from torch.nn.functional import leaky_relu

from nnzoo_fast.ops.gather_scatter.reference import group_of_each, reduce_messages
from nnzoo_fast.random import keep_mask


def softmax_of_groups(scores: torch.Tensor, group: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """exp(score) over the sum of these in the same group; `scores` [E, *H], `group` [E], `count` [G] its members."""
    top = reduce_messages(scores.detach(), group, count, "max")
    shares = (scores - top.index_select(0, group)).exp()
    total = shares.new_zeros(top.shape).index_add(0, group, shares)
    return shares / total.index_select(0, group)


def attend(x, scores, in_start, in_source, in_edge, dropout, seed):
    """out[i] = sum over the edges j -> i of the softmax of `scores` [E, H], dropped out, times x[j] [H, C]."""
    target = group_of_each(in_start, in_source.shape[0])
    weights = softmax_of_groups(scores, target, in_start.diff())
    if seed is not None:
        scale = 1 / (1 - dropout) if dropout < 1 else 0.0
        weights = weights * keep_mask(seed, scores.shape, dropout).index_select(0, in_edge) * scale
    out = x.new_zeros((in_start.shape[0] - 1, *x.shape[1:]))
    return out.index_add(0, target, weights.unsqueeze(-1) * x.index_select(0, in_source))


def reference(
    x, source, target, edge, in_start, in_source, in_edge, out_start, out_target, out_edge, slope, dropout, seed
):
    """`attend` with the scores leaky_relu(source[j] + target[i] + edge[e])."""
    to = group_of_each(in_start, in_source.shape[0])
    inside = source.index_select(0, in_source) + target.index_select(0, to)
    if edge is not None:
        inside = inside + edge.index_select(0, in_edge)
    return attend(x, leaky_relu(inside, slope), in_start, in_source, in_edge, dropout, seed)
