"""`sddmm`: sampled dense-dense matrix product, a dot product of two nodes' features for each edge."""

from __future__ import annotations

import torch

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors
from nnzoo_fast.graph import Graph
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.sddmm import cpu
from nnzoo_fast.ops.sddmm.reference import reference

__all__ = ["operation", "reference", "sddmm"]


def sddmm(x: torch.Tensor, y: torch.Tensor, graph: Graph, *, backend: str | None = None) -> torch.Tensor:
    """out[e] = <x[j], y[i]> for each edge e from j to i.

    Args:
        x: [n_source, *H, C].
        y: [n_target, *H, C].
        graph: the edges; its weights play no part.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [E, *H] in the order of the graph's `edge_index`.

    Raises:
        TypeError: `graph` is no Graph, or a tensor is none.
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    check_tensors("sddmm", x=x, y=y)
    if not isinstance(graph, Graph):
        raise TypeError(f"sddmm: graph is a {type(graph).__name__}, expected a nnzoo_fast.Graph")
    return operation(x, y, *graph.groups, backend=backend)


def check(x, y, in_start, in_source, in_edge, out_start, out_target, out_edge):
    num_sources, num_targets = out_start.shape[0] - 1, in_start.shape[0] - 1
    if x.dim() < 2 or x.shape[0] != num_sources:
        raise RuntimeError(f"sddmm: x is {list(x.shape)}, expected [{num_sources}, *heads, channels]")
    if list(y.shape) != [num_targets, *x.shape[1:]]:
        raise RuntimeError(f"sddmm: y is {list(y.shape)}, expected {[num_targets, *x.shape[1:]]}")
    if not x.is_floating_point() or y.dtype != x.dtype:
        raise RuntimeError(f"sddmm: x is {x.dtype} and y {y.dtype}, expected one floating-point dtype")
    if x.device != in_edge.device or y.device != in_edge.device:
        raise RuntimeError(f"sddmm: x is on {x.device} and y on {y.device}, expected the graph's {in_edge.device}")


def allocate(x, y, in_start, in_source, in_edge, *rest):
    return (x.new_empty((in_edge.shape[0], *x.shape[1:-1])),)


def keeps(args, needs):
    return (needs[1], needs[0], *(True,) * (len(needs) - 2)), (False,)


operation = Operation(
    "sddmm",
    "Tensor x, Tensor y, Tensor in_start, Tensor in_source, Tensor in_edge, "
    "Tensor out_start, Tensor out_target, Tensor out_edge",
    ("out",),
    allocate=allocate,
    reference=reference,
    stock=reference,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
)
