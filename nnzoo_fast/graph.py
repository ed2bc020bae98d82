"""`Graph`: edges, checked and sorted once for many passes of messages."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch.compiler import is_compiling

from nnzoo_fast import _compat
from nnzoo_fast import graph_edits as edits
from nnzoo_fast.front_door import is_traceable
from nnzoo_fast.group_edges import group_edges

_INDEX_DTYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_MOST = 2**31 - 1


class Graph:
    """A directed graph, grouped by target for the forward pass of messages and by source for the backward pass.

    Args:
        edge_index: integer [2, E], sources in row 0, targets in row 1. It is copied.
        num_nodes: the number of nodes, or (n_source, n_target) if they are of two kinds; by default the largest index
            plus 1. At most 2^31 - 1 nodes and edges.
        edge_weight: [E, *W] in the order of `edge_index`: what `gather_scatter` multiplies messages by. It is not
            copied, and gets a gradient.

    Attributes:
        edge_index: int64 [2, E].
        edge_weight: as given, or None.
        in_start, in_source, in_edge: the edges grouped by target: int32 [n_target + 1], where each target's edges
            begin; int32 [E], their sources; int32 [E], their places in `edge_index`.
        out_start, out_target, out_edge: the same by source.

    A Graph is a pytree, so it can be an argument of a compiled or exported function. It pickles as its `edge_index` and
    is built anew, and so checked, when it is loaded.

    Raises:
        TypeError: arguments that are no tensors or numbers.
        ValueError: wrong shapes or dtypes.
        IndexError: an index that is negative or not below the number of nodes.
    """

    def __init__(
        self,
        edge_index: torch.Tensor,
        num_nodes: int | tuple[int, int] | None = None,
        *,
        edge_weight: torch.Tensor | None = None,
    ):
        check_edge_index(edge_index)
        edge_index = edge_index.detach().to(torch.int64, copy=True, memory_format=torch.contiguous_format)
        num_sources, num_targets = _sizes(num_nodes, edge_index)
        self.edge_index = edge_index
        self.in_start, self.in_source, self.in_edge = group_edges(edge_index, 1, num_targets, num_sources)
        self.out_start, self.out_target, self.out_edge = group_edges(edge_index, 0, num_sources, num_targets)
        self.edge_weight = _checked_weight(edge_weight, edge_index)

    @property
    def groups(self) -> tuple[torch.Tensor, ...]:
        """The six tensors that kernels read."""
        return self.in_start, self.in_source, self.in_edge, self.out_start, self.out_target, self.out_edge

    @property
    def num_edges(self) -> int:
        return self.edge_index.shape[1]

    @property
    def num_sources(self) -> int:
        return self.out_start.shape[0] - 1

    @property
    def num_targets(self) -> int:
        return self.in_start.shape[0] - 1

    @property
    def num_nodes(self) -> int | tuple[int, int]:
        """The number of nodes; (n_source, n_target) where these differ."""
        if self.num_sources == self.num_targets:
            return self.num_sources
        return self.num_sources, self.num_targets

    @property
    def in_degree(self) -> torch.Tensor:
        """int64 [n_target]: the number of edges into each target."""
        return self.in_start.diff().long()

    @property
    def out_degree(self) -> torch.Tensor:
        """int64 [n_source]: the number of edges out of each source."""
        return self.out_start.diff().long()

    @property
    def device(self) -> torch.device:
        return self.edge_index.device

    def reverse(self) -> Graph:
        """The graph with every edge turned around. It shares this one's tensors, and nothing is sorted."""
        by_target, by_source = self.groups[:3], self.groups[3:]
        return self._new(self.edge_index.flip(0), self.edge_weight, by_source + by_target)

    @classmethod
    def from_csr(
        cls,
        start: torch.Tensor,
        source: torch.Tensor,
        num_sources: int | None = None,
        *,
        edge_weight: torch.Tensor | None = None,
    ) -> Graph:
        """The graph whose target i has the sources `source[start[i]:start[i + 1]]`.

        Args:
            start: integer [n_target + 1], from 0 to E without decreasing.
            source: integer [E].
            num_sources: by default n_target.
            edge_weight: as in `Graph`, in the order of `source`.

        Raises:
            TypeError, ValueError, IndexError: as `Graph`; ValueError also if `start` doesn't describe groups.
        """
        return edits.from_csr(start, source, num_sources, edge_weight)

    @classmethod
    def batch(cls, graphs: Sequence[Graph]) -> tuple[Graph, torch.Tensor]:
        """Several graphs side by side as one, nodes and edges in the order of the graphs.

        Returns:
            the graph, and int64 [n_target]: which of `graphs` each target is from, as `global_mean_pool` wants it.

        Raises:
            TypeError: something that is no Graph.
            ValueError: no graphs, or only some of them with edge weights.
        """
        return edits.batch(graphs)

    def add_edges(self, edge_index: torch.Tensor, edge_weight: torch.Tensor | None = None) -> Graph:
        """The graph with more edges behind those there are.

        Args:
            edge_index: integer [2, new], nodes of this graph.
            edge_weight: [new, *W] if this graph has weights.

        Raises:
            as `Graph`; ValueError also for weights of only some edges.
        """
        return edits.add_edges(self, edge_index, edge_weight)

    def remove_edges(self, edges: torch.Tensor) -> Graph:
        """The graph without some edges, the others in their order.

        Args:
            edges: bool [E], or the places of edges in `edge_index`, integer [*].

        Raises:
            IndexError: a place out of range.
            ValueError: a mask that is not [E], or another dtype.
        """
        return edits.remove_edges(self, edges)

    def subgraph(self, nodes: torch.Tensor) -> tuple[Graph, torch.Tensor]:
        """The graph of some nodes and of the edges among these, in their order.

        Args:
            nodes: integer [kept], the old number of each node that stays. The graph has one kind of nodes.

        Returns:
            the graph, and int64 [*], the places of its edges in `edge_index`.

        Raises:
            TypeError: `nodes` is no tensor.
            ValueError: two kinds of nodes, no integers, or a node named twice.
            IndexError: a node out of range.
        """
        return edits.subgraph(self, nodes)

    def with_self_loops(self, count: int | None = None) -> tuple[Graph, torch.Tensor]:
        """The graph with exactly one self-loop at each of the first `count` nodes, after all other edges.

        Without weights. The result is kept with the graph for later calls.

        Returns:
            the graph, and bool [E]: which of this graph's edges are no self-loops, and so come first in the other.

        Raises:
            TypeError: `count` is no int.
            ValueError: `count` is negative.
            IndexError: `count` is more than there are nodes.
        """
        count = min(self.num_sources, self.num_targets) if count is None else count
        edits.check_count(count)
        if is_compiling():
            return edits.with_self_loops(self, count)
        kept = self.__dict__.get("_looped")
        if kept is None or kept[0] != count:
            kept = self._looped = (count, *edits.with_self_loops(self, count))
        return kept[1:]

    def reordered(self, order: torch.Tensor | str = "breadth_first") -> tuple[Graph, torch.Tensor]:
        """The graph with its nodes renumbered, so that neighbours lie near each other in memory.

        Args:
            order: "breadth_first", "degree" (targets of many edges first), or integer [N]: the old number of each new
                node. The graph has one kind of nodes; edges keep their order.

        Returns:
            the graph, and int64 [N], the order: the features of its nodes are `x[order]`.

        Raises:
            TypeError: `order` is neither a string nor a tensor.
            ValueError: two kinds of nodes, an unknown order, no integers, or no permutation.
        """
        return edits.reordered(self, order)

    def with_weight(self, edge_weight: torch.Tensor | None) -> Graph:
        """The graph with other edge weights. It shares this one's tensors."""
        return self._new(self.edge_index, _checked_weight(edge_weight, self.edge_index), self.groups)

    def to(self, *args, **kwargs) -> Graph:
        """The graph on another device, or its weights in another floating dtype; arguments as for `Module.to`."""
        device, dtype, non_blocking, _ = _compat.parse_to(*args, **kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"Graph.to: dtype is {dtype}, expected a floating-point one, for the edge weights")

        def move(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None, non_blocking)

        return self._map(move)

    def cpu(self) -> Graph:
        return self.to("cpu")

    def cuda(self, device: torch.device | int | None = None) -> Graph:
        return self.to(torch.device("cuda") if device is None else torch.device("cuda", device))

    def __repr__(self) -> str:
        weight = "" if self.edge_weight is None else f", edge_weight={list(self.edge_weight.shape)}"
        device = "" if self.device.type == "cpu" else f", device={str(self.device)!r}"
        return f"Graph(num_nodes={self.num_nodes}, num_edges={self.num_edges}{weight}{device})"

    def __getstate__(self) -> dict:
        sizes = self.num_sources, self.num_targets
        return {"edge_index": self.edge_index, "num_nodes": sizes, "edge_weight": self.edge_weight}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["edge_index"], state["num_nodes"], edge_weight=state["edge_weight"])

    def __copy__(self) -> Graph:
        return self._map(lambda tensor: tensor)

    def __deepcopy__(self, memo: dict) -> Graph:
        return self._map(lambda tensor: copy.deepcopy(tensor, memo))

    @classmethod
    def _new(cls, edge_index: torch.Tensor, edge_weight: torch.Tensor | None, groups: tuple) -> Graph:
        graph = cls.__new__(cls)
        graph.edge_index, graph.edge_weight = edge_index, edge_weight
        graph.in_start, graph.in_source, graph.in_edge, graph.out_start, graph.out_target, graph.out_edge = groups
        return graph

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Graph:
        weight = None if self.edge_weight is None else change(self.edge_weight)
        return self._new(change(self.edge_index), weight, tuple(map(change, self.groups)))


def check_edge_index(edge_index: torch.Tensor, name: str = "Graph") -> None:
    """Raises TypeError or ValueError, in the name of `name`, for what is no integer tensor [2, E]."""
    if not is_traceable(edge_index):
        raise TypeError(f"{name}: edge_index is a {type(edge_index).__name__}, expected an integer tensor [2, E]")
    if edge_index.dtype not in _INDEX_DTYPES:
        raise ValueError(f"{name}: edge_index is {edge_index.dtype}, expected an integer dtype")
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"{name}: edge_index is {list(edge_index.shape)}, expected [2, E]")


def _sizes(num_nodes: int | tuple[int, int] | None, edge_index: torch.Tensor) -> tuple[int, int]:
    if num_nodes is None:
        num_nodes = (
            max(int(edge_index.max()) + 1, 0) if edge_index.shape[1] else 0
        )  # group_edges names a negative index
    sizes = tuple(num_nodes) if isinstance(num_nodes, (tuple, list)) else (num_nodes, num_nodes)
    numbers = all(isinstance(size, (int, torch.SymInt)) and not isinstance(size, bool) for size in sizes)
    if not numbers or len(sizes) != 2:
        raise TypeError(f"Graph: num_nodes is {num_nodes!r}, expected an int or (n_source, n_target)")
    if min(sizes) < 0 or max(*sizes, edge_index.shape[1]) > _MOST:
        raise ValueError(
            f"Graph: num_nodes is {num_nodes} with {edge_index.shape[1]} edges, expected 0 to {_MOST} of both"
        )
    return sizes


def _checked_weight(edge_weight: torch.Tensor | None, edge_index: torch.Tensor) -> torch.Tensor | None:
    if edge_weight is None:
        return None
    if not isinstance(edge_weight, torch.Tensor):
        raise TypeError(f"Graph: edge_weight is a {type(edge_weight).__name__}, expected a tensor")
    if edge_weight.dim() == 0 or edge_weight.shape[0] != edge_index.shape[1]:
        rows = edge_index.shape[1]
        raise ValueError(f"Graph: edge_weight is {list(edge_weight.shape)}, expected {rows} rows, one for each edge")
    if not edge_weight.is_floating_point():
        raise ValueError(f"Graph: edge_weight is {edge_weight.dtype}, expected a floating-point dtype")
    if edge_weight.device != edge_index.device:
        raise ValueError(f"Graph: edge_weight is on {edge_weight.device}, expected edge_index's {edge_index.device}")
    return edge_weight


def _flatten(graph: Graph) -> tuple[list, None]:
    return [graph.edge_index, graph.edge_weight, *graph.groups], None


def _unflatten(leaves: list, context: None) -> Graph:
    edge_index, edge_weight, *groups = leaves
    return Graph._new(edge_index, edge_weight, tuple(groups))


_compat.register_pytree(Graph, _flatten, _unflatten, name="nnzoo_fast.Graph")
torch.serialization.add_safe_globals([Graph])
