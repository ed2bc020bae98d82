"""Graphs made of graphs: what `Graph`'s methods of the same names do.

All of them sort the edges anew: the counting sort of a million edges takes as long as merging 10,000 edges into those
that are sorted, and a third of taking 10,000 out of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from nnzoo_fast.graph import Graph


def from_csr(start: torch.Tensor, source: torch.Tensor, num_sources: int | None, edge_weight) -> Graph:
    from nnzoo_fast.graph import Graph

    for name, tensor in (("start", start), ("source", source)):
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"Graph.from_csr: {name} is a {type(tensor).__name__}, expected a tensor")
        if tensor.dim() != 1 or tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
            expected = "expected integers of one dimension"
            raise ValueError(f"Graph.from_csr: {name} is {tensor.dtype} {list(tensor.shape)}, {expected}")
    sizes = start.diff()
    if start.shape[0] == 0 or int(start[0]) != 0 or int(start[-1]) != source.shape[0] or bool((sizes < 0).any()):
        raise ValueError(
            f"Graph.from_csr: start must rise from 0 to {source.shape[0]}, the number of edges, without decreasing"
        )
    num_targets = start.shape[0] - 1
    targets = torch.arange(num_targets, device=source.device)
    target = torch.repeat_interleave(targets, sizes.long(), output_size=source.shape[0])
    sizes = (num_targets if num_sources is None else num_sources, num_targets)
    return Graph(torch.stack([source.long(), target]), sizes, edge_weight=edge_weight)


def batch(graphs: Sequence[Graph]) -> tuple[Graph, torch.Tensor]:
    from nnzoo_fast.graph import Graph

    graphs = list(graphs)
    if not graphs:
        raise ValueError("Graph.batch: there are no graphs, expected at least one")
    for i, graph in enumerate(graphs):
        if not isinstance(graph, Graph):
            raise TypeError(f"Graph.batch: graphs[{i}] is a {type(graph).__name__}, expected a Graph")
    weighted = [graph.edge_weight is not None for graph in graphs]
    if any(weighted) and not all(weighted):
        raise ValueError("Graph.batch: some graphs have edge weights, expected all of them or none")
    device = graphs[0].device
    sizes = torch.tensor([[graph.num_sources, graph.num_targets] for graph in graphs], device=device)
    counts = torch.tensor([graph.num_edges for graph in graphs], device=device)
    before = torch.repeat_interleave(sizes.cumsum(0) - sizes, counts, dim=0)
    edge_index = torch.cat([graph.edge_index for graph in graphs], dim=1) + before.t()
    weight = torch.cat([graph.edge_weight for graph in graphs]) if all(weighted) else None
    index = torch.repeat_interleave(torch.arange(len(graphs), device=device), sizes[:, 1])
    return Graph(edge_index, tuple(sizes.sum(0).tolist()), edge_weight=weight), index


def add_edges(graph: Graph, edge_index: torch.Tensor, edge_weight: torch.Tensor | None) -> Graph:
    from nnzoo_fast.graph import Graph

    sizes = graph.num_sources, graph.num_targets
    new = Graph(edge_index, sizes, edge_weight=edge_weight)  # says what is wrong with them
    if (new.edge_weight is None) != (graph.edge_weight is None):
        raise ValueError("Graph.add_edges: edge_weight must be given if the graph has weights, and only then")
    weight = None if edge_weight is None else torch.cat([graph.edge_weight, new.edge_weight])
    return Graph(torch.cat([graph.edge_index, new.edge_index], dim=1), sizes, edge_weight=weight)


def remove_edges(graph: Graph, edges: torch.Tensor) -> Graph:
    from nnzoo_fast.graph import Graph

    if not isinstance(edges, torch.Tensor):
        raise TypeError(f"Graph.remove_edges: edges is a {type(edges).__name__}, expected a tensor")
    count = graph.num_edges
    if edges.dtype == torch.bool:
        if edges.shape != (count,):
            raise ValueError(f"Graph.remove_edges: edges is bool {list(edges.shape)}, expected [{count}]")
        stays = ~edges
    else:
        if edges.is_floating_point() or edges.is_complex():
            raise ValueError(f"Graph.remove_edges: edges is {edges.dtype}, expected bool or integers")
        if edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < count:
            raise IndexError(f"Graph.remove_edges: edges holds a place out of range, expected 0 <= place < {count}")
        stays = torch.ones(count, dtype=torch.bool, device=graph.device)
        stays[edges.reshape(-1).long()] = False
    kept = stays.nonzero()[:, 0]
    weight = None if graph.edge_weight is None else graph.edge_weight.index_select(0, kept)
    sizes = graph.num_sources, graph.num_targets
    return Graph(graph.edge_index.index_select(1, kept), sizes, edge_weight=weight)


def edges_among(edge_index: torch.Tensor, nodes: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The edges between `nodes`, some of `count`, with these renumbered by their place there, and where they stood."""
    place = torch.full((count,), -1, dtype=torch.int64, device=nodes.device)
    place[nodes] = torch.arange(nodes.shape[0], device=nodes.device)
    ends = place[edge_index]
    kept = (ends >= 0).all(0).nonzero()[:, 0]
    return ends[:, kept], kept


def subgraph(graph: Graph, nodes: torch.Tensor) -> tuple[Graph, torch.Tensor]:
    from nnzoo_fast.graph import Graph

    count = graph.num_sources
    if count != graph.num_targets:
        raise ValueError(f"Graph.subgraph: {graph} has two kinds of nodes, expected one")
    if not isinstance(nodes, torch.Tensor):
        raise TypeError(f"Graph.subgraph: nodes is a {type(nodes).__name__}, expected a tensor")
    if nodes.dim() != 1 or nodes.is_floating_point() or nodes.is_complex() or nodes.dtype == torch.bool:
        raise ValueError(f"Graph.subgraph: nodes is {nodes.dtype} {list(nodes.shape)}, expected integers [*]")
    nodes = nodes.long()
    if nodes.numel() and not 0 <= int(nodes.min()) <= int(nodes.max()) < count:
        raise IndexError(f"Graph.subgraph: nodes holds a node out of range, expected 0 <= node < {count}")
    if nodes.unique().numel() != nodes.numel():
        raise ValueError("Graph.subgraph: nodes names one of them twice")
    edge_index, kept = edges_among(graph.edge_index, nodes, count)
    weight = None if graph.edge_weight is None else graph.edge_weight.index_select(0, kept)
    return Graph(edge_index, nodes.shape[0], edge_weight=weight), kept


def check_count(count: int) -> None:
    if not isinstance(count, (int, torch.SymInt)) or isinstance(count, bool):
        raise TypeError(f"Graph.with_self_loops: count is {count!r}, expected an int")
    if count < 0:
        raise ValueError(f"Graph.with_self_loops: count is {count}, expected at least 0")


def with_self_loops(graph: Graph, count: int) -> tuple[Graph, torch.Tensor]:
    from nnzoo_fast.graph import Graph

    others = graph.edge_index[0] != graph.edge_index[1]
    nodes = torch.arange(count, device=graph.device)
    edge_index = torch.cat([graph.edge_index[:, others], nodes.expand(2, -1)], dim=1)
    return Graph(edge_index, (graph.num_sources, graph.num_targets)), others


def reordered(graph: Graph, order: torch.Tensor | str) -> tuple[Graph, torch.Tensor]:
    from nnzoo_fast.graph import Graph

    nodes = graph.num_sources
    if nodes != graph.num_targets:
        raise ValueError(f"Graph.reordered: {graph} has two kinds of nodes, expected one")
    if isinstance(order, str):
        if order not in ("breadth_first", "degree"):
            raise ValueError(f"Graph.reordered: order is {order!r}, expected 'breadth_first', 'degree' or a tensor")
        order = (
            breadth_first(graph) if order == "breadth_first" else graph.in_degree.argsort(descending=True, stable=True)
        )
    if not isinstance(order, torch.Tensor):
        raise TypeError(f"Graph.reordered: order is a {type(order).__name__}, expected a string or a tensor")
    if order.is_floating_point() or order.is_complex() or order.dtype == torch.bool:
        raise ValueError(f"Graph.reordered: order is {order.dtype}, expected an integer dtype")
    order = order.long()
    place = torch.full((nodes,), -1, dtype=torch.int64, device=graph.device)
    inside = (
        order.dim() == 1
        and order.shape[0] == nodes
        and (not nodes or 0 <= int(order.min()) <= int(order.max()) < nodes)
    )
    if inside:
        place[order] = torch.arange(nodes, device=graph.device)
    if not inside or bool((place < 0).any()):
        raise ValueError(f"Graph.reordered: order is no permutation of the {nodes} nodes")
    return Graph(place[graph.edge_index], nodes, edge_weight=graph.edge_weight), order


def breadth_first(graph: Graph) -> torch.Tensor:
    """int64 [N]: nodes as a search finds them that follows edges both ways, from the first node not yet found."""
    lists = [tensor.tolist() for tensor in (graph.in_start, graph.in_source, graph.out_start, graph.out_target)]
    in_start, in_source, out_start, out_target = lists
    found, order = bytearray(graph.num_sources), []
    for root in range(graph.num_sources):
        if found[root]:
            continue
        found[root] = 1
        order.append(root)
        done = len(order) - 1
        while done < len(order):
            node = order[done]
            done += 1
            for near in (
                in_source[in_start[node] : in_start[node + 1]] + out_target[out_start[node] : out_start[node + 1]]
            ):
                if not found[near]:
                    found[near] = 1
                    order.append(near)
    return torch.tensor(order, dtype=torch.int64, device=graph.device)
