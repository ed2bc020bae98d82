"""`segment_reduce`, `rows_of_edges` and `reduce_edges`: `gather_scatter` where groups are known: nothing is sorted."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nnzoo_fast.front_door import OPS, check_tensors, is_traceable, route
from nnzoo_fast.graph import Graph
from nnzoo_fast.ops.gather_scatter import gather_scatter, operation
from nnzoo_fast.ops.gather_scatter.reference import group_of_each


def segment_reduce(
    src: torch.Tensor, ptr: torch.Tensor, reduce: str = "sum", *, backend: str | None = None
) -> torch.Tensor:
    """out[i] = reduce over the rows `src[ptr[i]:ptr[i + 1]]`. `torch_geometric.utils.segment`.

    Args:
        src: [E, *F], floating-point.
        ptr: integer [N + 1], from 0 to E without decreasing.
        reduce: a reduction of `gather_scatter`, or "add".
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [N, *F]; 0 of an empty group, 1 of "mul".

    Raises:
        TypeError: an argument is no tensor.
        ValueError: an unknown reduction, or a `ptr` that doesn't describe groups of rows (in a compiled or exported
            program RuntimeError or IndexError).
        RuntimeError: a wrong dtype or device.
        BackendError: `backend` can't run this call.
    """
    check_tensors("segment_reduce", src=src, ptr=ptr)
    if not is_traceable(src) or not is_traceable(ptr):
        raise TypeError("segment_reduce: src and ptr must be tensors with a shape, not what stands for them")
    count = src.shape[0] if src.dim() else 0
    if ptr.dim() != 1 or ptr.is_floating_point() or ptr.dtype == torch.bool or ptr.shape[0] == 0:
        raise ValueError(f"segment_reduce: ptr is {ptr.dtype} {list(ptr.shape)}, expected integers [N + 1]")
    readable = route((src, ptr)) is not OPS  # else the kernel finds out
    if readable and (int(ptr[0]) != 0 or int(ptr[-1]) != count or bool((ptr.diff() < 0).any())):
        raise ValueError(f"segment_reduce: ptr must rise from 0 to {count}, the rows of src, without decreasing")
    start = ptr.to(torch.int32)
    each = torch.arange(count + 1, dtype=torch.int32, device=src.device)
    group = group_of_each(start, count)
    groups = (start, each[:-1], each[:-1], each, group.to(torch.int32), each[:-1])
    graph = Graph._new(torch.stack([each[:-1].long(), group]), None, groups)
    return gather_scatter(src, graph, None, {"add": "sum"}.get(reduce, reduce), backend=backend)


def rows_of_edges(x: torch.Tensor, graph: Graph, end: str) -> torch.Tensor:
    """[E, *F]: for each edge the row of `x` [N, *F] at its "source" or its "target".

    Each edge is the target of one message. The gradient is a sum over each node's edges, which the graph has sorted.
    """
    each = torch.arange(graph.num_edges + 1, dtype=torch.int32, device=x.device)
    if end == "source":
        node, start, edge = graph.edge_index[0], graph.out_start, graph.out_edge
    else:
        node, start, edge = graph.edge_index[1], graph.in_start, graph.in_edge
    return operation(x, None, each, node.to(torch.int32), each[:-1], start, edge, edge, "sum")


def reduce_edges(rows: torch.Tensor, graph: Graph, reduce: str | Sequence[str] = "sum"):
    """[n_target, *F]: of `rows` [E, *F] in the order of the graph's `edge_index`, those of each target reduced.

    What `gather_scatter` makes of the graph whose sources are the edges; several reductions give a tuple.
    """
    each = torch.arange(graph.num_edges + 1, dtype=torch.int32, device=rows.device)
    target = graph.edge_index[1]
    groups = (graph.in_start, graph.in_edge, graph.in_edge, each, target.to(torch.int32), each[:-1])
    return gather_scatter(rows, Graph._new(torch.stack([each[:-1].long(), target]), None, groups), None, reduce)
