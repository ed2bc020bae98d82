"""`GCNConv`: Kipf and Welling, "Semi-supervised classification with graph convolutional networks"."""

from __future__ import annotations

import math

import torch

from nnzoo_fast import ops
from nnzoo_fast.front_door import EAGER, route
from nnzoo_fast.graph import Graph
from nnzoo_fast.nn.linear import LazyLinear, Linear
from nnzoo_fast.nn.message_passing import MessagePassing


class GCNConv(MessagePassing):
    """x' = D^-1/2 (A + I) D^-1/2 x W + bias. `torch_geometric.nn.GCNConv`.

    Args:
        in_channels: features of a node, or -1 to take them from the first input.
        out_channels: features of a node in the result.
        improved: A + 2 I instead of A + I, also without `edge_weight`, where PyTorch Geometric 2.8 keeps A + I.
        cached: keep the graph of the first call with its normalisation, for every later call.
        add_self_loops: add I; by default if `normalize` is set.
        normalize: divide by the degrees. Without it, `edge_weight` is used as it is; `gcn_norm` prepares a graph for
            that, which then costs nothing in each call.
        bias: add a learnt bias.
        kwargs: arguments of `MessagePassing`; `aggr` is "add" by default.

    Shapes:
        x [N, in_channels], edge_index integer [2, E] or a square `Graph`, edge_weight [E] in its order (by default the
        graph's, else 1) -> [N, out_channels]. A Graph made once saves the sorting that an edge_index costs each call.

    Raises:
        RuntimeError: an `edge_weight` that is not [E].
        ValueError: `add_self_loops` without `normalize`, a pair of node features, or a graph of two kinds of nodes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        improved: bool = False,
        cached: bool = False,
        add_self_loops: bool | None = None,
        normalize: bool = True,
        bias: bool = True,
        **kwargs,
    ):
        kwargs.setdefault("aggr", "add")
        super().__init__(**kwargs)
        self.add_self_loops = normalize if add_self_loops is None else add_self_loops
        if self.add_self_loops and not normalize:
            raise ValueError("GCNConv: add_self_loops needs normalize")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.improved, self.cached, self.normalize = improved, cached, normalize
        if in_channels < 0:
            self.lin = LazyLinear(out_channels, bias=False)
            self.lin.reset_parameters = self._draw_weight  # at the first call, when the size is known
        else:
            self.lin = Linear(in_channels, out_channels, bias=False)
        self.register_parameter("bias", torch.nn.Parameter(torch.empty(out_channels)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot's uniform distribution for the weight, zeros for the bias; forgets what `cached` keeps."""
        super().reset_parameters()
        self._draw_weight()
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)
        self._kept = None

    def forward(
        self, x: torch.Tensor, edge_index: torch.Tensor | Graph, edge_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        if isinstance(x, (tuple, list)):
            raise ValueError("GCNConv: x is a pair of node features, expected one tensor: there is one kind of nodes")
        graph, edge_weight, loops = self._kept or self._prepare(edge_index, edge_weight, x)
        if self.cached and self._kept is None:
            self._kept = graph, edge_weight, loops
        x = self.lin(x)
        out = self.propagate(graph, x=x, edge_weight=edge_weight)
        if loops is not None:
            out = out + along(loops, self.node_dim) * x
        return out if self.bias is None else out + self.bias

    def message(self, x_j: torch.Tensor, edge_weight: torch.Tensor | None = None) -> torch.Tensor:
        return x_j if edge_weight is None else along(edge_weight, self.node_dim) * x_j

    def message_and_aggregate(self, graph: Graph, x: torch.Tensor, edge_weight: torch.Tensor | None = None):
        return self.gather_scatter(x, graph, edge_weight)

    def _prepare(self, edge_index, edge_weight, x: torch.Tensor):
        """The graph, its weights, and what a node sends to itself: [N], or None where that is among the edges."""
        graph = edge_index if isinstance(edge_index, Graph) else Graph(edge_index, x.shape[self.node_dim])
        if graph.num_sources != graph.num_targets:
            raise ValueError(f"GCNConv: {graph} has two kinds of nodes, expected one")
        weight = graph.edge_weight if edge_weight is None else edge_weight
        if weight is not None and weight.shape != (graph.num_edges,):
            raise RuntimeError(f"GCNConv: edge_weight is {list(weight.shape)}, expected [{graph.num_edges}]")
        if not self.normalize:
            return graph, weight, None
        fill = 2.0 if self.improved else 1.0
        if weight is None and graph is edge_index and route((x, graph.edge_index)) is EAGER:
            return *kept_normalised(graph, fill if self.add_self_loops else None, x.dtype, self.flow), None
        apart = self.fuse and self.aggr in (
            "sum",
            "add",
        )  # other reductions must see a node's own message among the others
        if self.add_self_loops and not apart:
            graph, weight = with_self_loops(graph, weight, fill, x.dtype)
        fill = fill if self.add_self_loops and apart else None
        weight, loops = normalised(graph, weight, fill, x.dtype, self.flow)
        return graph, weight, loops

    def _draw_weight(self) -> None:
        weight = self.lin.weight
        if not isinstance(weight, torch.nn.UninitializedParameter):
            bound = math.sqrt(6.0 / sum(weight.shape))
            with torch.no_grad():
                weight.uniform_(-bound, bound)


def gcn_norm(
    graph: Graph, improved: bool = False, add_self_loops: bool = True, dtype: torch.dtype | None = None
) -> Graph:
    """`graph` with self-loops and the weights of D^-1/2 (A + I) D^-1/2: for `GCNConv(..., normalize=False)`.

    Args:
        graph: a square graph; its weights are those of A.
        improved: self-loops of weight 2.
        dtype: of the weights; by default those of the graph, else torch's default.
    """
    dtype = dtype or (torch.get_default_dtype() if graph.edge_weight is None else graph.edge_weight.dtype)
    weight = graph.edge_weight
    if add_self_loops:
        graph, weight = with_self_loops(graph, weight, 2.0 if improved else 1.0, dtype)
    return graph.with_weight(normalised(graph, weight, None, dtype)[0])


def along(values: torch.Tensor, dim: int) -> torch.Tensor:
    """[N] in the shape that broadcasts along dimension `dim` of features [*, N, *]."""
    return values.reshape((-1,) + (1,) * (-1 - dim)) if dim < 0 else values.reshape((1,) * dim + (-1, 1))


def self_loops(graph: Graph, weight: torch.Tensor | None, fill: float, dtype: torch.dtype):
    """Where edges are self-loops, bool [E], and the weight of each node's: the edge's, else `fill`. [N]"""
    source, target = graph.edge_index
    found = source == target
    nodes = graph.num_sources
    if weight is None:
        return found, torch.full((nodes,), fill, dtype=dtype, device=graph.device)
    place = torch.where(found, source, nodes)  # one place more, for the edges between nodes
    own = torch.full((nodes + 1,), fill, dtype=weight.dtype, device=graph.device).scatter(0, place, weight)
    return found, own[:nodes]


def with_self_loops(graph: Graph, weight: torch.Tensor | None, fill: float, dtype: torch.dtype):
    """The graph with exactly one self-loop at each node, after the other edges, and all their weights."""
    found, own = self_loops(graph, weight, fill, dtype)
    nodes = torch.arange(graph.num_sources, device=graph.device)
    edge_index = torch.cat([graph.edge_index[:, ~found], nodes.expand(2, -1)], dim=1)
    others = torch.ones_like(found, dtype=own.dtype) if weight is None else weight
    return Graph(edge_index, graph.num_nodes), torch.cat([others[~found], own])


@torch.inference_mode(False)
def kept_normalised(graph: Graph, fill: float | None, dtype: torch.dtype, flow: str) -> tuple[Graph, torch.Tensor]:
    """A graph without weights, with self-loops of weight `fill` if that is given, and its edges' `normalised` weights.

    Made once for each graph, which keeps it for later calls: as what training can use too, also in inference mode.
    """
    kept, key = graph.__dict__.setdefault("_normalised", {}), (fill, dtype, flow)
    if key not in kept:
        looped = graph if fill is None else graph.with_self_loops()[0]
        weight = torch.ones(looped.num_edges, dtype=dtype, device=graph.device)
        if fill is not None:
            weight[-graph.num_sources :] = fill
        kept[key] = looped, normalised(looped, weight, None, dtype, flow)[0]
    return kept[key]


def normalised(
    graph: Graph, weight: torch.Tensor | None, fill: float | None, dtype: torch.dtype, flow: str = "source_to_target"
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """D^-1/2 weight D^-1/2: of the edges [E], and of the self-loops of weight `fill` that stand apart [N], if any."""
    source, target = graph.edge_index
    edges = torch.ones(graph.num_edges, dtype=dtype, device=graph.device) if weight is None else weight
    own = None
    if fill is not None:
        found, own = self_loops(graph, weight, fill, dtype)
        edges = edges.masked_fill(found, 0)
    receiving = graph if flow == "source_to_target" else graph.reverse()
    degree = ops.gather_scatter(edges.new_ones(graph.num_sources), receiving, edges)
    scale = (degree if own is None else degree + own).pow(-0.5)
    scale = scale.masked_fill(scale == torch.inf, 0)
    edges = scale.index_select(0, source) * edges * scale.index_select(0, target)
    return edges, None if own is None else scale * own * scale
