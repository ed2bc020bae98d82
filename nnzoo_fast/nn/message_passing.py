"""`MessagePassing` and `GCNConv`: PyTorch Geometric's, whose messages are not stored where that is not asked for."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from nnzoo_fast import ops
from nnzoo_fast.graph import Graph, check_edge_index
from nnzoo_fast.ops.gather_scatter.reference import REDUCES
from nnzoo_fast.ops.gather_scatter.segments import reduce_edges

REDUCTIONS = {"add": "sum", **{name: name for name in REDUCES}}
"""What `aggr` may be called, and the `reduce` that it is."""

_FROM_GRAPH = ("edge_index", "edge_index_i", "edge_index_j", "index", "ptr", "size", "size_i", "size_j", "dim_size")


class MessagePassing(torch.nn.Module):
    """Base class of layers in which nodes send messages along edges. `torch_geometric.nn.MessagePassing`.

    A subclass calls `propagate` and may override `message`, `aggregate`, `update` and `message_and_aggregate`. The last
    runs in place of the first two, on `ops.gather_scatter` and without storing a message, unless a more derived class
    overrides one of these; so a subclass that overrides only `update` is fused by itself.

    Args:
        aggr: "sum" ("add"), "mean", "max", "min", "mul", "var", "std" or "softmax", several of them (results are
            concatenated in the last dimension), or None if `aggregate` is overridden.
        flow: "source_to_target": messages go from row 0 of `edge_index` to row 1, or "target_to_source".
        node_dim: the dimension of nodes.

    Raises:
        ValueError: an unknown `aggr` or `flow`.
    """

    def __init__(
        self,
        aggr: str | Sequence[str] | None = "sum",
        *,
        flow: str = "source_to_target",
        node_dim: int = -2,
    ):
        super().__init__()
        if flow not in ("source_to_target", "target_to_source"):
            raise ValueError(
                f"{type(self).__name__}: flow is {flow!r}, expected 'source_to_target' or 'target_to_source'"
            )
        for name in _names(aggr):
            if name not in REDUCTIONS:
                raise ValueError(f"{type(self).__name__}: aggr is {aggr!r}, expected {', '.join(REDUCTIONS)} or a list")
        self.aggr = aggr if aggr is None or isinstance(aggr, str) else list(aggr)
        self.flow = flow
        self.node_dim = node_dim
        self.fuse = self._can_fuse()

    def reset_parameters(self) -> None:
        """Draws the layer's parameters anew."""

    def propagate(
        self, edge_index: torch.Tensor | Graph, size: tuple[int | None, int | None] | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """Sends messages along all edges and returns the updated nodes.

        Args:
            edge_index: integer [2, E] or a `Graph`.
            size: the numbers of nodes that rows 0 and 1 of `edge_index` point to; by default those of the arguments.
            kwargs: what `message`, `aggregate` and `update` ask for by name. Of an argument `x`, [N, *] or a pair for
                senders and receivers, `x_j` [E, *] is the sender's part for each edge, `x_i` the receiver's.

        Raises:
            ValueError: sizes that contradict each other, a wrong `edge_index`, or flow "target_to_source" with a pair
                for unequal numbers of nodes: turn the edges around for that.
            TypeError: an argument that is asked for is missing, or an `edge_index` that is neither tensor nor `Graph`.
            IndexError: an index out of range, or features without the dimension of nodes.
            NotImplementedError: `aggr` is None and `aggregate` not overridden.
        """
        i, j = (1, 0) if self.flow == "source_to_target" else (0, 1)
        if not isinstance(edge_index, Graph):
            check_edge_index(edge_index, "MessagePassing")
        names = _parameters(self.message) + _parameters(self.aggregate)[1:] + _parameters(self.update)[1:]
        sizes = self._sizes(edge_index, size, names, kwargs, i)
        if self.fuse:
            graph = edge_index if isinstance(edge_index, Graph) else Graph(edge_index, tuple(sizes))
            graph = graph if i == 1 else graph.reverse()
            asked = _parameters(self.message_and_aggregate)[1:]
            out = self.message_and_aggregate(graph, **self._chosen(self.message_and_aggregate, kwargs, asked))
            return self.update(out, **self._chosen(self.update, kwargs, _parameters(self.update)[1:]))
        edge_index = edge_index.edge_index if isinstance(edge_index, Graph) else edge_index
        known = self._collect(edge_index, sizes, names, kwargs, i, j)
        messages = self.message(**self._chosen(self.message, known, _parameters(self.message)))
        out = self.aggregate(messages, **self._chosen(self.aggregate, known, _parameters(self.aggregate)[1:]))
        return self.update(out, **self._chosen(self.update, known, _parameters(self.update)[1:]))

    def message(self, x_j: torch.Tensor) -> torch.Tensor:
        """The messages [E, *] of all edges, from any arguments of `propagate`."""
        return x_j

    def aggregate(
        self, inputs: torch.Tensor, index: torch.Tensor, ptr: torch.Tensor | None = None, dim_size: int | None = None
    ) -> torch.Tensor:
        """The messages reduced by their receivers `index`."""
        if self.aggr is None:
            raise NotImplementedError(f"{type(self).__name__}: aggr is None, so aggregate must be overridden")
        results = [ops.scatter(inputs, index, self.node_dim, dim_size, name) for name in _names(self.aggr)]
        return results[0] if isinstance(self.aggr, str) else torch.cat(results, dim=-1)

    def message_and_aggregate(self, graph: Graph, x: torch.Tensor | tuple) -> torch.Tensor:
        """What `message` and `aggregate` do, in one step."""
        return self.gather_scatter(x, graph)

    def update(self, inputs: torch.Tensor) -> torch.Tensor:
        """The nodes [N, *] from what they received."""
        return inputs

    def gather_scatter(
        self, x: torch.Tensor | tuple, graph: Graph, edge_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`ops.gather_scatter` along `node_dim` with the reductions `aggr`; of a pair x, the senders' part is taken."""
        x = x[0] if isinstance(x, (tuple, list)) else x
        results = ops.gather_scatter(x.movedim(self.node_dim, 0), graph.with_weight(None), edge_weight, self._reduces())
        return self._joined(results)

    def aggregated(self, messages: torch.Tensor, graph: Graph) -> torch.Tensor:
        """What `aggregate` makes of messages in the order of the graph's edges, which are not sorted again for it."""
        return self._joined(reduce_edges(messages.movedim(self.node_dim, 0), graph, self._reduces()))

    def _reduces(self) -> list[str]:
        return [REDUCTIONS[name] for name in _names(self.aggr)]

    def _joined(self, results: tuple[torch.Tensor, ...]) -> torch.Tensor:
        results = [result.movedim(0, self.node_dim) for result in results]
        return results[0] if isinstance(self.aggr, str) else torch.cat(results, dim=-1)

    def _can_fuse(self) -> bool:
        order = type(self).__mro__

        def defined(name: str) -> int:
            return next(i for i, cls in enumerate(order) if name in vars(cls))

        fused = defined("message_and_aggregate")
        known = bool(_names(self.aggr)) and all(name in REDUCTIONS for name in _names(self.aggr))
        return known and fused <= defined("message") and fused <= defined("aggregate")

    def _sizes(self, edge_index, size, names, kwargs, i: int) -> list[int]:
        if isinstance(edge_index, Graph):
            sizes = [edge_index.num_sources, edge_index.num_targets]
        else:
            sizes = [None, None] if size is None else list(size)
        for name in names:
            if name[-2:] in ("_i", "_j") and name not in _FROM_GRAPH:
                end = i if name.endswith("_i") else 1 - i
                data = kwargs.get(name[:-2])
                if isinstance(data, (tuple, list)):
                    self._agree_of_pair(sizes, i, data, name[:-2])
                else:
                    self._agree(sizes, end, data, name[:-2])
        known = [size for size in sizes if size is not None]
        if not known:
            known = [int(edge_index.max()) + 1 if edge_index.numel() else 0]
        return [known[0] if size is None else size for size in sizes]

    def _agree_of_pair(self, sizes: list, i: int, data: tuple | list, name: str) -> None:
        if len(data) != 2:
            raise ValueError(f"{type(self).__name__}: {name} has {len(data)} parts, expected a tensor or a pair")
        for place, part in zip((1 - i, i), data, strict=True):
            self._agree(sizes, place, part, name)
        if i == 0 and None not in sizes and sizes[0] != sizes[1]:
            counts = f"{sizes[1]} senders and {sizes[0]} receivers"
            expected = f"expected as many of both where flow is {self.flow!r}"
            raise ValueError(f"{type(self).__name__}: {name} is a pair for {counts}, {expected}")

    def _agree(self, sizes: list, place: int, data: Any, name: str) -> None:
        if not isinstance(data, torch.Tensor):
            return
        if not -data.dim() <= self.node_dim < data.dim():
            expected = f"expected nodes in dimension {self.node_dim}"
            raise IndexError(f"{type(self).__name__}: {name} is {list(data.shape)}, {expected}")
        if sizes[place] is None:
            sizes[place] = data.shape[self.node_dim]
        elif sizes[place] != data.shape[self.node_dim]:
            expected = f"{sizes[place]} nodes in dimension {self.node_dim}"
            raise ValueError(f"{type(self).__name__}: {name} is {list(data.shape)}, expected {expected}")

    def _collect(self, edge_index, sizes, names, kwargs, i: int, j: int) -> dict[str, Any]:
        known = dict(kwargs)
        for name in names:
            if name[-2:] in ("_i", "_j") and name[:-2] in kwargs:
                end = i if name.endswith("_i") else j
                data = kwargs[name[:-2]]
                data = data[name.endswith("_i")] if isinstance(data, (tuple, list)) else data
                known[name] = data.index_select(self.node_dim, edge_index[end]) if data is not None else None
        graph = dict(edge_index=edge_index, edge_index_i=edge_index[i], edge_index_j=edge_index[j], index=edge_index[i])
        places = dict(ptr=None, size=sizes, size_i=sizes[i], size_j=sizes[j], dim_size=sizes[i])
        return {**known, **graph, **places}

    def _chosen(self, hook, known: dict[str, Any], names: list[str]) -> dict[str, Any]:
        defaults = inspect.signature(hook).parameters
        for name in names:
            if name not in known and defaults[name].default is inspect.Parameter.empty:
                raise TypeError(
                    f"{type(self).__name__}.propagate: {hook.__name__} asks for {name!r}, which was not given"
                )
        return {name: known[name] for name in names if name in known}

    def __repr__(self) -> str:
        channels = f"{self.in_channels}, {self.out_channels}" if hasattr(self, "in_channels") else ""
        return f"{type(self).__name__}({channels})"


def _names(aggr: str | Sequence[str] | None) -> Sequence[str]:
    return () if aggr is None else (aggr,) if isinstance(aggr, str) else aggr


def _parameters(hook) -> list[str]:
    return list(inspect.signature(hook).parameters)
