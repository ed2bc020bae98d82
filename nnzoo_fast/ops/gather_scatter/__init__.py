"""`gather_scatter`: message passing, out[i] = reduce over edges j -> i of weight * x[j], without storing a message."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nnzoo_fast.backends import Backend, only_on_request
from nnzoo_fast.cuda_support import cuda_rows
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.graph import Graph
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.gather_scatter import cpu
from nnzoo_fast.ops.gather_scatter.reference import REDUCES, along_first, reference, rows_kept
from nnzoo_fast.triton_support import triton_row, triton_supports

__all__ = ["gather_scatter", "operation", "reference"]


def gather_scatter(
    x: torch.Tensor,
    graph: Graph,
    edge_weight: torch.Tensor | None = None,
    reduce: str | Sequence[str] = "sum",
    *,
    backend: str | None = None,
) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """out[i] = reduce over the edges j -> i of edge_weight * x[j].

    Args:
        x: [n_source, *F], floating-point.
        graph: the edges.
        edge_weight: [E] or [E, *W] in the order of the graph's `edge_index`, W lined up with the first dimensions of F
            and each either equal or 1; or one weight for all edges, [] or [1, *W]. By default the graph's own, else 1.
        reduce: "sum", "mean", "max", "min", "mul", "var", "std" or "softmax", or several of them. "mean" and "var"
            divide by the number of edges; "std" is 0 where the variance is not above 1e-5; "softmax" weighs each
            message m by exp(m) over the sum of these. Without edges, a target gets 0, and 1 of "mul". Equal messages
            share the gradient of "max" and "min" equally.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [n_target, *F], or a tuple with one such tensor for each of several reductions. If x and edge_weight differ in
        dtype, both are promoted as in a product.

    Raises:
        TypeError: `graph` is no Graph.
        ValueError: an unknown reduction.
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    if not isinstance(graph, Graph):
        raise TypeError(f"gather_scatter: graph is a {type(graph).__name__}, expected a nnzoo_fast.Graph")
    names = check_reduce(reduce)
    check_tensors("gather_scatter", x=x)
    weight = graph.edge_weight if edge_weight is None else edge_weight
    if not is_traceable(x):
        return record(x, graph, weight, names, single=isinstance(reduce, str))
    if weight is not None:
        x, weight = promoted(x, weight, graph.num_edges)
    out = operation(x, weight, *graph.groups, ",".join(names), backend=backend)
    if isinstance(reduce, str):
        return out
    return (out,) if len(names) == 1 else out.unbind(0)


def check_reduce(reduce: str | Sequence[str]) -> tuple[str, ...]:
    names = (reduce,) if isinstance(reduce, str) else tuple(reduce)
    if not names or any(name not in REDUCES for name in names):
        raise ValueError(f"gather_scatter: reduce is {reduce!r}, expected {', '.join(REDUCES)} or a list of these")
    return names


def promoted(x: torch.Tensor, weight: torch.Tensor, num_edges: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """`x` and `weight` in one dtype; a weight that all edges share goes into x."""
    if weight.dim() == 0 or (weight.shape[0] == 1 and num_edges != 1):
        return x * along_first(weight.reshape(weight.shape or 1), x), None
    if weight.dtype == x.dtype:
        return x, weight
    dtype = torch.promote_types(x.dtype, weight.dtype)
    return x.to(dtype), weight.to(dtype)


def record(x, graph: Graph, weight: torch.Tensor | None, names: tuple[str, ...], single: bool):
    """Lets an fx tracer write the call down; the traced program runs `operation` on tensors."""
    out = torch.overrides.handle_torch_function(run, (x,), x, weight, *graph.groups, ",".join(names))
    if single or len(names) == 1:
        return out if single else (out,)
    return tuple(out[i] for i in range(len(names)))


def run(x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce):
    """`operation` as a plain function, which a traced program can name."""
    return operation(x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce)


def check(x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce):
    num_sources, num_edges = out_start.shape[0] - 1, in_source.shape[0]
    if x.dim() == 0 or x.shape[0] != num_sources:
        raise RuntimeError(f"gather_scatter: x is {list(x.shape)}, expected {num_sources} rows, the graph's sources")
    if not x.is_floating_point():
        raise RuntimeError(f"gather_scatter: x is {x.dtype}, expected a floating-point dtype")
    if x.device != in_source.device:
        raise RuntimeError(f"gather_scatter: x is on {x.device}, expected the graph's {in_source.device}")
    if edge_weight is None:
        return
    if edge_weight.device != x.device:
        raise RuntimeError(f"gather_scatter: edge_weight is on {edge_weight.device}, expected x's {x.device}")
    shape = edge_weight.shape
    fits = 1 <= len(shape) <= x.dim() and shape[0] == num_edges
    if not fits or any(size not in (1, x.shape[i]) for i, size in enumerate(shape) if i):
        expected = f"[{num_edges}] or {[num_edges, *x.shape[1:]]}, where feature dimensions may be 1 or left out"
        raise RuntimeError(f"gather_scatter: edge_weight is {list(shape)}, expected {expected}")


def allocate(x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce, training):
    stack = reduce.count(",") + 1
    shape = (in_start.shape[0] - 1, *x.shape[1:])
    return (x.new_empty(shape if stack == 1 else (stack, *shape)),)


def keeps(args, needs):
    names = args[-1].split(",")
    messages = any(map(rows_kept, names))
    out = any(name in ("max", "min", "softmax") for name in names)
    return (needs[1] or messages, needs[0] or messages, *(True,) * (len(needs) - 2)), (out,)


def flops(x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce):
    features = 1
    for size in x[1:]:
        features *= size
    return in_source[0] * features * (reduce.count(",") + 1 + (edge_weight is not None))


def triton_supports_call(*args):
    able, reason = cpu.weights_verdict(*args[:2])
    if able:
        able, reason = cpu.plain_verdict(args[-1])
    return triton_supports(args[0]) if able else (able, reason)


operation = Operation(
    "gather_scatter",
    "Tensor x, Tensor? edge_weight, Tensor in_start, Tensor in_source, Tensor in_edge, "
    "Tensor out_start, Tensor out_target, Tensor out_edge, str reduce",
    ("out",),
    allocate=allocate,
    reference=reference,
    stock=reference,
    table=(
        Backend("cpu", cpu.supports, cpu.forward_by("tiled"), cpu.backward, cpu.pays),
        *cuda_rows("nnzoo_fast.ops.gather_scatter.cuda", "scalar", "packed"),
        *(
            Backend(f"cpu_{walk}", cpu.supports_plain, cpu.forward_by(walk), cpu.backward, only_on_request)
            for walk in cpu.WALKS[:-1]
        ),
        triton_row("nnzoo_fast.ops.gather_scatter.triton_kernels", triton_supports_call),
    ),
    check=check,
    keeps=keeps,
    flops=flops,
)
