"""`sddmm` on its kernel, and backward on those of `gather_scatter`: a weighted sum of rows over each node's edges."""

import math

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.gather_scatter.cpu import WALKS, check_indices, edge_groups
from nnzoo_fast.ops.gather_scatter.reference import REDUCES

LEAST_VALUES = 1 << 14
"""Products from which the kernel makes up for its call: in stock torch 960 take 0.86 times as long, 32,000 1.22 times,
forward and backward on a Zen 4 core."""


def supports(x, *others) -> Verdict:
    return cpu_supports(x, "sddmm_forward")


def pays(x, y, in_start, in_source, *others) -> Verdict:
    if in_source.shape[0] * math.prod(x.shape[1:]) < LEAST_VALUES:
        return False, f"less than {LEAST_VALUES} products"
    return True, "no row is stored for an edge"


def forward(x, y, in_start, in_source, in_edge, *rest):
    out = x.new_empty((in_edge.shape[0], *x.shape[1:-1]))
    if out.numel() == 0:
        return (out,)
    if x.shape[-1] == 0:
        return (out.zero_(),)
    x, y = x.contiguous(), y.contiguous()
    valid = _extension._C.sddmm_forward(
        edge_groups(in_start, in_source, in_edge, x.shape[0]),
        x.data_ptr(),
        y.data_ptr(),
        out.data_ptr(),
        math.prod(x.shape[1:-1]),
        x.shape[-1],
        _extension.DTYPE_CODES[x.dtype],
        torch.get_num_threads(),
    )
    check_indices(valid)
    return (out,)


def backward(grads, args, outputs, needs):
    x, y, in_start, in_source, in_edge, out_start, out_target, out_edge = args
    into = edge_groups(in_start, in_source, in_edge, x.shape[0])
    out_of = edge_groups(out_start, out_target, out_edge, y.shape[0])
    grad = grads[0].contiguous()
    grad_x = _weighted_sum(out_of, into, y, grad, x) if needs[0] else None
    grad_y = _weighted_sum(into, out_of, x, grad, y) if needs[1] else None
    return (grad_x, grad_y, *(None,) * (len(needs) - 2))


def _weighted_sum(groups: tuple, others: tuple, rows: torch.Tensor, weight: torch.Tensor, like: torch.Tensor):
    out = rows.new_empty(like.shape)
    if out.numel() == 0:
        return out
    rows = rows.contiguous()
    valid = _extension._C.gather_scatter_forward(
        groups,
        others,
        rows.data_ptr(),
        weight.data_ptr(),
        out.data_ptr(),
        [REDUCES.index("sum")],
        math.prod(rows.shape[1:]),
        math.prod(rows.shape[1:]),
        math.prod(rows.shape[1:-1]),
        WALKS.index("tiled"),
        _extension.DTYPE_CODES[rows.dtype],
        torch.get_num_threads(),
    )
    check_indices(valid)
    return out
