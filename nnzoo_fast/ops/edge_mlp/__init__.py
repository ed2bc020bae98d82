"""`edge_mlp`: a small network on every edge, reduced by target, without a buffer of the edges."""

from __future__ import annotations

import torch

from nnzoo_fast.activations import check_activation
from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.graph import Graph
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.edge_mlp import cpu
from nnzoo_fast.ops.edge_mlp.reference import reference
from nnzoo_fast.ops.linear import linear

__all__ = ["edge_mlp", "operation", "reference"]

REDUCES = ("sum", "mean", "max")


def edge_mlp(
    p: torch.Tensor,
    q: torch.Tensor,
    graph: Graph,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    activation: str = "relu",
    reduce: str = "max",
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """out[i] = reduce over the edges j -> i of weight @ activation(p[i] + q[j]) + bias.

    p and q are what a first linear layer makes of an edge's two ends, which is a sum of a part for each: of
    W [x_i, x_j - x_i] + b, as in `nn.EdgeConv`, p = (W_1 - W_2) x + b and q = W_2 x, W_1 and W_2 being the halves of W.

    Args:
        p: [n_target, H].
        q: [n_source, H].
        graph: the edges; its weights play no part.
        weight: [O, H]; None: the message is activation(p[i] + q[j]).
        bias: [O], with `weight` only.
        activation: a name that `linear` knows.
        reduce: "sum", "mean" or "max", which shares its gradient equally among equal messages.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [n_target, O], or [n_target, H] without `weight`; 0 for a target without edges.

    Raises:
        TypeError: `graph` is no Graph, or a tensor is none.
        ValueError: an unknown activation or reduction.
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    check_tensors("edge_mlp", p=p, q=q)
    check_activation("edge_mlp", activation)
    if not isinstance(graph, Graph):
        raise TypeError(f"edge_mlp: graph is a {type(graph).__name__}, expected a nnzoo_fast.Graph")
    if reduce not in REDUCES:
        raise ValueError(f"edge_mlp: reduce is {reduce!r}, expected {', '.join(REDUCES)}")
    if reduce == "max" or weight is None:
        return operation(p, q, weight, bias, *graph.groups, activation, reduce, backend=backend)
    if is_traceable(p):
        check(p, q, weight, bias, *graph.groups, activation, reduce)
    # Sums commute with what is linear: one product for each target instead of one for each edge.
    total = operation(p, q, None, None, *graph.groups, activation, reduce, backend=backend)
    out = linear(total, weight)
    if bias is None:
        return out
    count = graph.in_start.diff()[:, None]
    return out + bias * (count if reduce == "sum" else count > 0).to(bias.dtype)


def check(p, q, weight, bias, in_start, in_source, in_edge, out_start, out_target, out_edge, activation, reduce):
    num_sources, num_targets = out_start.shape[0] - 1, in_start.shape[0] - 1
    if p.dim() != 2 or p.shape[0] != num_targets:
        raise RuntimeError(f"edge_mlp: p is {list(p.shape)}, expected [{num_targets}, H], a row for each target")
    if not p.is_floating_point():
        raise RuntimeError(f"edge_mlp: p is {p.dtype}, expected a floating-point dtype")
    if p.device != in_source.device:
        raise RuntimeError(f"edge_mlp: p is on {p.device}, expected the graph's {in_source.device}")
    shapes = {"q": (q, [num_sources, p.shape[1]])}
    if bias is not None and weight is None:
        raise RuntimeError("edge_mlp: there is a bias without a weight")
    if weight is not None:
        shapes["weight"] = (weight, [*weight.shape[:1], p.shape[1]])
    if bias is not None:
        shapes["bias"] = (bias, list(weight.shape[:1]))
    for name, (tensor, shape) in shapes.items():
        if list(tensor.shape) != shape:
            raise RuntimeError(f"edge_mlp: {name} is {list(tensor.shape)}, expected {shape}")
        if tensor.dtype != p.dtype or tensor.device != p.device:
            found = f"{tensor.dtype} on {tensor.device}"
            raise RuntimeError(f"edge_mlp: {name} is {found}, expected p's {p.dtype} on {p.device}")


def allocate(p, q, weight, bias, in_start, in_source, *rest):
    outputs = p.shape[1] if weight is None else weight.shape[0]
    keeps_best = rest[-1] and rest[-2] == "max"
    words = (in_source.shape[0], (outputs + 31) // 32) if keeps_best else (0,)
    return p.new_empty((in_start.shape[0] - 1, outputs)), p.new_empty(words, dtype=torch.int32)


def keeps(args, needs):
    return (True, True, True, False, *(True,) * (len(needs) - 4)), (False, True)


def flops(p, q, weight, bias, in_start, in_source, *rest):
    return in_source[0] * p[1] * (3 if weight is None else 3 + 2 * weight[0])


operation = Operation(
    "edge_mlp",
    "Tensor p, Tensor q, Tensor? weight, Tensor? bias, Tensor in_start, Tensor in_source, Tensor in_edge, "
    "Tensor out_start, Tensor out_target, Tensor out_edge, str activation, str reduce",
    ("out", "best"),
    allocate=allocate,
    reference=reference,
    stock=reference,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    autocast="lower",
    flops=flops,
)
