"""`edge_softmax`: the softmax of edges' scores over those of the same target."""

from __future__ import annotations

import torch

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors
from nnzoo_fast.graph import Graph
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.edge_softmax import cpu
from nnzoo_fast.ops.edge_softmax.reference import reference

__all__ = ["edge_softmax", "operation", "reference"]


def edge_softmax(scores: torch.Tensor, graph: Graph, *, backend: str | None = None) -> torch.Tensor:
    """out[e] = exp(scores[e]) over the sum of these of all edges into the same target. `torch_geometric.utils.softmax`.

    Args:
        scores: [E, *H] in the order of the graph's `edge_index`, each column apart.
        graph: the edges; its weights play no part.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [E, *H].

    Raises:
        TypeError: `graph` is no Graph, `scores` no tensor.
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    check_tensors("edge_softmax", scores=scores)
    if not isinstance(graph, Graph):
        raise TypeError(f"edge_softmax: graph is a {type(graph).__name__}, expected a nnzoo_fast.Graph")
    return operation(scores, *graph.groups, backend=backend)


def check(scores, in_start, in_source, in_edge, out_start, out_target, out_edge):
    if scores.dim() == 0 or scores.shape[0] != in_edge.shape[0]:
        raise RuntimeError(f"edge_softmax: scores is {list(scores.shape)}, expected {in_edge.shape[0]} rows, the edges")
    if not scores.is_floating_point():
        raise RuntimeError(f"edge_softmax: scores is {scores.dtype}, expected a floating-point dtype")
    if scores.device != in_edge.device:
        raise RuntimeError(f"edge_softmax: scores is on {scores.device}, expected the graph's {in_edge.device}")


def allocate(scores, *rest):
    return (scores.new_empty(scores.shape),)


def keeps(args, needs):
    # The kernel reads the output alone, but a gradient that is differentiated again comes from the scores.
    return (True,) * len(needs), (True,)


operation = Operation(
    "edge_softmax",
    "Tensor scores, Tensor in_start, Tensor in_source, Tensor in_edge, "
    "Tensor out_start, Tensor out_target, Tensor out_edge",
    ("out",),
    allocate=allocate,
    reference=reference,
    stock=reference,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
)
