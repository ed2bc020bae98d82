"""`gather_scatter` on the kernels of `csrc/ops/gather_scatter/*_cuda.cu`."""

import math
from typing import NamedTuple

import torch

from nnzoo_fast._extension import DTYPE_CODES
from nnzoo_fast.backends import Verdict, address
from nnzoo_fast.cuda_support import Kernels, call
from nnzoo_fast.ops.gather_scatter import allocate
from nnzoo_fast.ops.gather_scatter.cpu import edge_groups, heads_of, plain_verdict, rows_of
from nnzoo_fast.ops.gather_scatter.reference import REDUCES

MOST_REDUCTIONS = 4
MOST_FEATURES = 65535 * 32
"""A warp for 32 of them, in the second dimension of the grid."""


def supports(x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce) -> Verdict:
    if edge_weight is not None and heads_of(x, edge_weight) is None:
        return False, f"edge_weight {list(edge_weight.shape)} broadcasts over a feature dimension that is not the last"
    if not plain_verdict(reduce)[0]:
        return plain_verdict(reduce)
    if reduce.count(",") >= MOST_REDUCTIONS:
        return False, f"more than {MOST_REDUCTIONS} reductions"
    features = math.prod(x.shape[1:])
    if features > MOST_FEATURES:
        return False, f"{features} features, these kernels hold {MOST_FEATURES}"
    return True, ""


def codes_of(reduce: str) -> list[int]:
    return [REDUCES.index(name) for name in reduce.split(",")]


class Ladder(NamedTuple):
    """How rows are reduced; `Rung` in gather_scatter_cuda.h."""

    packed: bool
    hub_edges: int

    def rung(self, like: torch.Tensor, num_edges: int, values: int, features: int) -> tuple:
        """Of the kernels' last argument the first two parts, and the workspace that is the third."""
        if not 0 < self.hub_edges < num_edges:
            return self.packed, 0, None
        sums = torch.float64 if like.dtype == torch.float64 else torch.float32
        pieces = like.new_empty((-(-num_edges // self.hub_edges), 2, values, features), dtype=sums)
        return self.packed, self.hub_edges, pieces

    def forward(self, x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce, training):
        args = (x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce)
        (out,) = allocate(*args, training)
        if out.numel() == 0:
            return (out,)
        rows = rows_of(x)
        weight = None if edge_weight is None else edge_weight.contiguous()
        *rung, pieces = self.rung(x, in_edge.shape[0], 3, rows.shape[1])
        call(
            x,
            "gather_scatter_forward",
            edge_groups(in_start, in_source, in_edge, x.shape[0]),
            rows.data_ptr(),
            address(weight),
            out.data_ptr(),
            codes_of(reduce),
            rows.shape[1],
            rows.stride(0),
            1 if weight is None else heads_of(x, weight),
            DTYPE_CODES[x.dtype],
            (*rung, address(pieces)),
        )
        return (out,)

    def backward(self, grads, args, outputs, needs):
        x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce = args
        needs_x, needs_weight = needs[:2]
        codes = codes_of(reduce)
        extremes = sum(REDUCES[code] in ("max", "min") for code in codes)
        rows = rows_of(x) if extremes or needs_weight else None
        grad = grads[0].contiguous()
        weight = None if edge_weight is None else edge_weight.contiguous()
        features = math.prod(x.shape[1:])
        num_sources, num_targets = x.shape[0], in_start.shape[0] - 1
        grad_x = grad.new_empty(x.shape) if needs_x else None
        grad_weight = grad.new_empty(edge_weight.shape) if needs_weight else None
        none = (None,) * (len(needs) - 2)
        if features == 0 or num_sources == 0 or num_targets == 0:
            return (
                None if grad_x is None else grad_x.zero_(),
                None if grad_weight is None else grad_weight.zero_(),
                *none,
            )
        sums = torch.float64 if grad.dtype == torch.float64 else torch.float32
        share = grad.new_empty((extremes, num_targets, features), dtype=sums)
        *rung, pieces = self.rung(grad, in_edge.shape[0], 1, features)
        call(
            grad,
            "gather_scatter_backward",
            edge_groups(in_start, in_source, in_edge, num_sources),
            edge_groups(out_start, out_target, out_edge, num_targets),
            grad.data_ptr(),
            address(rows),
            address(weight),
            address(outputs[0] if extremes else None),
            share.data_ptr(),
            address(grad_x),
            address(grad_weight),
            codes,
            features,
            features if rows is None else rows.stride(0),
            1 if weight is None else heads_of(x, weight),
            DTYPE_CODES[grad.dtype],
            (*rung, address(pieces)),
        )
        return grad_x, grad_weight, *none


# As many edges as a hub's piece, a hub being a row with more: some 40 us of one team's time on an H200, four rows at a
# time 600 ns away.
_TOP = Ladder(packed=True, hub_edges=256)
forward, backward = _TOP.forward, _TOP.backward
RUNGS = {
    name: Kernels(supports, rung.forward, rung.backward)
    for name, rung in {"scalar": Ladder(False, 0), "packed": Ladder(True, 0)}.items()
}
