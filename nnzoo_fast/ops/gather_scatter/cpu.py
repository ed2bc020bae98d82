"""`gather_scatter` on the kernels of `csrc/ops/gather_scatter/`."""

import math

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.gather_scatter.reference import PLAIN_REDUCES, REDUCES, rows_kept

WALKS = ("push", "pull", "registers", "tiled")
"""The rungs of the ladder, in the order of `enum class Walk` in gather_scatter.h."""


def supports(x, edge_weight, *others) -> Verdict:
    able, reason = weights_verdict(x, edge_weight)
    return cpu_supports(x, "gather_scatter_forward") if able else (able, reason)


def supports_plain(*args) -> Verdict:
    """What the lower rungs of the ladder support."""
    able, reason = plain_verdict(args[-1])
    return supports(*args) if able else (able, reason)


def plain_verdict(reduce: str) -> Verdict:
    """Whether these reductions are among those that every kernel knows."""
    for name in reduce.split(","):
        if name not in PLAIN_REDUCES:
            return False, f"reduce is {name}, these kernels know {', '.join(PLAIN_REDUCES)}"
    return True, ""


def weights_verdict(x, edge_weight) -> Verdict:
    """Whether each weight serves adjacent features, as kernels want it."""
    if edge_weight is not None and heads_of(x, edge_weight) is None:
        return False, f"edge_weight {list(edge_weight.shape)} broadcasts over a feature dimension that is not the last"
    return True, ""


def pays(x, *others) -> Verdict:
    return True, "no message is stored, rows stay in registers"


def heads_of(x: torch.Tensor, edge_weight: torch.Tensor) -> int | None:
    """The weights of an edge, each serving as many adjacent features; None if they don't lie like that."""
    features, weights = x.shape[1:], edge_weight.shape[1:]
    alike = 0
    while alike < len(weights) and weights[alike] == features[alike]:
        alike += 1
    if any(size != 1 for size in weights[alike:]):
        return None
    return math.prod(weights)


def edge_groups(start: torch.Tensor, node: torch.Tensor, edge: torch.Tensor, num_nodes: int) -> tuple:
    """A graph's edges grouped by one end, as the kernels take them."""
    return start.data_ptr(), node.data_ptr(), edge.data_ptr(), start.shape[0] - 1, num_nodes, node.shape[0]


def rows_of(x: torch.Tensor) -> torch.Tensor:
    """`x` [N, *F] as [N, F] with adjacent features; a copy only if its strides leave no other way."""
    rows = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    return rows if rows.stride(1) == 1 or rows.shape[1] == 1 else rows.contiguous()


def check_indices(valid: bool) -> None:
    if not valid:
        raise IndexError("gather_scatter: graph's tensors were changed and no longer describe a graph")


def forward_by(walk: str):
    """The forward that runs the rung `walk` of the ladder."""
    code = WALKS.index(walk)

    def forward(x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce, training):
        from nnzoo_fast.ops.gather_scatter import allocate

        args = (x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce)
        (out,) = allocate(*args, training)
        if out.numel() == 0:
            return (out,)
        rows = rows_of(x)
        weight = None if edge_weight is None else edge_weight.contiguous()
        num_sources, num_targets = x.shape[0], in_start.shape[0] - 1
        valid = _extension._C.gather_scatter_forward(
            edge_groups(in_start, in_source, in_edge, num_sources),
            edge_groups(out_start, out_target, out_edge, num_targets),
            rows.data_ptr(),
            address(weight),
            out.data_ptr(),
            [REDUCES.index(name) for name in reduce.split(",")],
            rows.shape[1],
            rows.stride(0),
            1 if weight is None else heads_of(x, weight),
            code,
            _extension.DTYPE_CODES[x.dtype],
            torch.get_num_threads(),
        )
        check_indices(valid)
        return (out,)

    return forward


def backward(grads, args, outputs, needs):
    x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce = args
    needs_x, needs_weight = needs[:2]
    names = reduce.split(",")
    kept = sum(map(rows_kept, names))
    rows = rows_of(x) if kept or needs_weight else None
    grad = grads[0].contiguous()
    weight = None if edge_weight is None else edge_weight.contiguous()
    features = math.prod(x.shape[1:])
    num_sources, num_targets = x.shape[0], in_start.shape[0] - 1
    grad_x = grad.new_empty(x.shape) if needs_x else None
    grad_weight = grad.new_empty(edge_weight.shape) if needs_weight else None
    none = (None,) * (len(needs) - 2)
    if features == 0 or num_sources == 0:
        return grad_x, None if grad_weight is None else grad_weight.zero_(), *none
    compute = torch.float64 if grad.dtype == torch.float64 else torch.float32
    share = grad.new_empty((kept, num_targets, features), dtype=compute)
    valid = _extension._C.gather_scatter_backward(
        edge_groups(in_start, in_source, in_edge, num_sources),
        edge_groups(out_start, out_target, out_edge, num_targets),
        grad.data_ptr(),
        address(rows),
        address(weight),
        address(outputs[0]),
        share.data_ptr(),
        address(grad_x),
        address(grad_weight),
        [REDUCES.index(name) for name in names],
        features,
        features if rows is None else rows.stride(0),
        1 if weight is None else heads_of(x, weight),
        _extension.DTYPE_CODES[grad.dtype],
        torch.get_num_threads(),
    )
    check_indices(valid)
    return grad_x, grad_weight, *none
