"""`gat`: graph attention, Velickovic et al., "Graph attention networks" (ICLR 2018)."""

from __future__ import annotations

import torch

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.graph import Graph
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.gat import cpu
from nnzoo_fast.ops.gat.reference import reference
from nnzoo_fast.random import new_seed

__all__ = ["gat", "operation", "reference"]


def gat(
    x: torch.Tensor,
    source: torch.Tensor,
    target: torch.Tensor | None,
    graph: Graph,
    edge: torch.Tensor | None = None,
    negative_slope: float = 0.2,
    dropout: float = 0.0,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """out[i] = sum over the edges j -> i of a * x[j], a the softmax over these edges of their scores.

    The score of an edge e from j to i is leaky_relu(source[j] + target[i] + edge[e]), one for each head.

    Args:
        x: [n_source, H, C], what sources send.
        source: [n_source, H].
        target: [n_target, H], or None for zeros.
        graph: the edges; its weights play no part.
        edge: [E, H] in the order of the graph's `edge_index`, or None for zeros.
        negative_slope: of leaky_relu.
        dropout: the probability with which a weight a is dropped; the others are scaled by 1 / (1 - dropout).
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [n_target, H, C]; 0 for a target without edges.

    Raises:
        TypeError: `graph` is no Graph, or a tensor is none.
        ValueError: `dropout` is not a probability.
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    check_tensors("gat", x=x, source=source)
    check_graph("gat", graph, dropout)
    if target is None:
        target = source.new_zeros((graph.num_targets, *source.shape[1:]))
    seed = new_seed(x.device) if dropout > 0 else None
    return operation(x, source, target, edge, *graph.groups, negative_slope, dropout, seed, backend=backend)


def check_graph(name: str, graph: Graph, dropout: float) -> None:
    if not isinstance(graph, Graph):
        raise TypeError(f"{name}: graph is a {type(graph).__name__}, expected a nnzoo_fast.Graph")
    if not 0 <= dropout <= 1:
        raise ValueError(f"{name}: dropout is {dropout}, expected a probability from 0 to 1")


def check_shape(name: str, argument: str, tensor: torch.Tensor | None, shape: list, x: torch.Tensor) -> None:
    """Raises where `tensor` is there and not like x but for its shape."""
    if tensor is None or not is_traceable(tensor):
        return
    if list(tensor.shape) != shape:
        raise RuntimeError(f"{name}: {argument} is {list(tensor.shape)}, expected {shape}")
    if tensor.dtype != x.dtype or tensor.device != x.device:
        found = f"{tensor.dtype} on {tensor.device}"
        raise RuntimeError(f"{name}: {argument} is {found}, expected x's {x.dtype} on {x.device}")


def check_x(name: str, x: torch.Tensor, num_sources: int, in_source: torch.Tensor) -> None:
    if x.dim() != 3 or x.shape[0] != num_sources:
        raise RuntimeError(f"{name}: x is {list(x.shape)}, expected [{num_sources}, heads, channels]")
    if not x.is_floating_point():
        raise RuntimeError(f"{name}: x is {x.dtype}, expected a floating-point dtype")
    if x.device != in_source.device:
        raise RuntimeError(f"{name}: x is on {x.device}, expected the graph's {in_source.device}")


def check(x, source, target, edge, in_start, in_source, in_edge, out_start, out_target, out_edge, slope, dropout, seed):
    check_x("gat", x, out_start.shape[0] - 1, in_source)
    heads = x.shape[1]
    check_shape("gat", "source", source, [x.shape[0], heads], x)
    check_shape("gat", "target", target, [in_start.shape[0] - 1, heads], x)
    check_shape("gat", "edge", edge, [in_source.shape[0], heads], x)


def outputs(x, in_start, normals: int, training: bool):
    """out, and what backward wants of each target and head: the largest score, the sum of exponentials, its parts."""
    num_targets, heads = in_start.shape[0] - 1, x.shape[1]
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    normal = x.new_empty((num_targets, normals, heads) if training else (0,), dtype=compute)
    return x.new_empty((num_targets, *x.shape[1:])), normal


def allocate(x, source, target, edge, in_start, *rest):
    training = rest[-1]
    out, normal = outputs(x, in_start, 3, training)
    return out, normal, normal.new_empty(out.shape if training else (0,))


def flops(x, source, target, edge, in_start, in_source, *rest):
    return in_source[0] * x[1] * (2 * x[2] + 8)


operation = Operation(
    "gat",
    "Tensor x, Tensor source, Tensor target, Tensor? edge, Tensor in_start, Tensor in_source, Tensor in_edge, "
    "Tensor out_start, Tensor out_target, Tensor out_edge, float slope, float dropout, Tensor? seed",
    ("out", "normal", "positive"),
    allocate=allocate,
    reference=reference,
    stock=reference,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    flops=flops,
)
