"""`gatv2`: graph attention, Brody et al., "How attentive are graph attention networks?" (ICLR 2022)."""

from __future__ import annotations

import torch

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors
from nnzoo_fast.graph import Graph
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.gat import check_graph, check_shape, check_x, outputs
from nnzoo_fast.ops.gatv2 import cpu
from nnzoo_fast.ops.gatv2.reference import reference
from nnzoo_fast.random import new_seed

__all__ = ["gatv2", "operation", "reference"]


def gatv2(
    x: torch.Tensor,
    target: torch.Tensor,
    att: torch.Tensor,
    graph: Graph,
    edge: torch.Tensor | None = None,
    negative_slope: float = 0.2,
    dropout: float = 0.0,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """out[i] = sum over the edges j -> i of a * x[j], a the softmax over these edges of their scores.

    The score of an edge e from j to i is sum over c of att[c] * leaky_relu(x[j] + target[i] + edge[e])[c], one for each
    head.

    Args:
        x: [n_source, H, C], what sources send.
        target: [n_target, H, C].
        att: [H, C].
        graph: the edges; its weights play no part.
        edge: [E, H, C] in the order of the graph's `edge_index`, or None for zeros.
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
    check_tensors("gatv2", x=x, target=target, att=att)
    check_graph("gatv2", graph, dropout)
    seed = new_seed(x.device) if dropout > 0 else None
    return operation(x, target, att, edge, *graph.groups, negative_slope, dropout, seed, backend=backend)


def check(x, target, att, edge, in_start, in_source, in_edge, out_start, out_target, out_edge, slope, dropout, seed):
    check_x("gatv2", x, out_start.shape[0] - 1, in_source)
    features = list(x.shape[1:])
    check_shape("gatv2", "target", target, [in_start.shape[0] - 1, *features], x)
    check_shape("gatv2", "att", att, features, x)
    check_shape("gatv2", "edge", edge, [in_source.shape[0], *features], x)


def allocate(x, target, att, edge, in_start, *rest):
    return outputs(x, in_start, 2, rest[-1])


def flops(x, target, att, edge, in_start, in_source, *rest):
    return in_source[0] * x[1] * (7 * x[2] + 6)


operation = Operation(
    "gatv2",
    "Tensor x, Tensor target, Tensor att, Tensor? edge, Tensor in_start, Tensor in_source, Tensor in_edge, "
    "Tensor out_start, Tensor out_target, Tensor out_edge, float slope, float dropout, Tensor? seed",
    ("out", "normal"),
    allocate=allocate,
    reference=reference,
    stock=reference,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    flops=flops,
)
