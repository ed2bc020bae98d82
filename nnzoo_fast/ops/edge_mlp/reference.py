"""What `edge_mlp` means."""

import torch.nn.functional as F

from nnzoo_fast.activations import ACTIVATIONS
from nnzoo_fast.ops.gather_scatter.reference import group_of_each, reduce_messages


def reference(p, q, weight, bias, in_start, in_source, in_edge, out_start, out_target, out_edge, activation, reduce):
    """out[i] = reduce over the edges j -> i of weight @ activation(p[i] + q[j]) + bias."""
    target = group_of_each(in_start, in_source.shape[0])
    messages = ACTIVATIONS[activation](p.index_select(0, target) + q.index_select(0, in_source))
    if weight is not None:
        messages = F.linear(messages, weight, bias)
    return reduce_messages(messages, target, in_start.diff(), reduce)
