"""`EdgeConv` and `DynamicEdgeConv`: Wang et al., "Dynamic graph CNN for learning on point clouds" (TOG 2019)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nnzoo_fast import ops
from nnzoo_fast.graph import Graph
from nnzoo_fast.nn.activated import activation_name, unobserved
from nnzoo_fast.nn.gin_conv import reset
from nnzoo_fast.nn.linear import Linear, PackedLinear
from nnzoo_fast.nn.message_passing import MessagePassing
from nnzoo_fast.nn.sequential import Sequential
from nnzoo_fast.ops.gather_scatter.segments import rows_of_edges

REDUCES_OF_EDGES = {"add": "sum", "sum": "sum", "mean": "mean", "max": "max"}
_LINEARS = (torch.nn.Linear, Linear, PackedLinear)
_SEQUENTIALS = (torch.nn.Sequential, Sequential)


class EdgeConv(MessagePassing):
    """x'[i] = aggr over the edges j -> i of nn([x[i], x[j] - x[i]]). `torch_geometric.nn.EdgeConv`.

    Where `nn` is a `Sequential` that begins with a `Linear`, that is split into a part for each end of an edge, applied
    to nodes: W [x_i, x_j - x_i] = (W_1 - W_2) x_i + W_2 x_j. Where all that follows is an activation and perhaps a
    `Linear` (and a ReLU behind it, for "max"), and `aggr` is "add", "mean" or "max", no row of an edge is stored,
    forward or backward: see `ops.edge_mlp`. Any other `nn` sees the edges as a whole.

    Args:
        nn: a module or function [*, 2 * in_channels] -> [*, out_channels].
        aggr: a reduction that `MessagePassing` knows, or several.
        kwargs: other arguments of `MessagePassing`.

    Shapes:
        x [N, in_channels] or a pair for sources and targets; edge_index integer [2, E] or a `Graph` ->
        [N, out_channels].
    """

    def __init__(self, nn: Callable, aggr: str = "max", **kwargs):
        super().__init__(aggr, **kwargs)
        self.nn = nn
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters of `nn`'s layers anew."""
        super().reset_parameters()
        reset(self.nn)

    def forward(
        self, x: torch.Tensor | tuple[torch.Tensor, torch.Tensor], edge_index: torch.Tensor | Graph
    ) -> torch.Tensor:
        return self.propagate(edge_index, x=(x, x) if isinstance(x, torch.Tensor) else x)

    def message(self, x_i: torch.Tensor, x_j: torch.Tensor) -> torch.Tensor:
        return self.nn(torch.cat([x_i, x_j - x_i], dim=-1))

    def message_and_aggregate(self, graph: Graph, x: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        source, target = x
        layers = layers_of(self.nn)
        rows = target.dim() == 2 and self.node_dim in (0, -2)
        if not rows or not begins_with_linear(layers, 2 * target.shape[1]):
            return self._over_edges(graph, source, target)
        reduce = REDUCES_OF_EDGES.get(self.aggr) if isinstance(self.aggr, str) else None
        fused = reduce is not None and small_network(layers, reduce)
        if not fused and graph.num_edges < graph.num_sources + graph.num_targets:
            return self._over_edges(graph, source, target)
        # What was one product, rounded once, is a sum here: bfloat16 would round its parts.
        dtype = torch.float32 if target.dtype == torch.bfloat16 else target.dtype
        p, q = halves(layers[0], source, target, dtype)
        if fused:
            return edge_network(p, q, graph, layers, reduce).to(result_dtype(target))
        hidden = (rows_of_edges(p, graph, "target") + rows_of_edges(q, graph, "source")).to(target.dtype)
        for layer in layers[1:]:
            hidden = layer(hidden)
        return self.aggregated(hidden, graph)

    def _over_edges(self, graph: Graph, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        ends = ((target, "target"), (source, "source"))
        x_i, x_j = (rows_of_edges(x.movedim(self.node_dim, 0), graph, end).movedim(0, self.node_dim) for x, end in ends)
        return self._reduce(graph, self.message(x_i, x_j))

    def _reduce(self, graph: Graph, messages: torch.Tensor) -> torch.Tensor:
        return self.aggregate(messages, graph.edge_index[1], None, graph.num_targets)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(nn={self.nn})"


class DynamicEdgeConv(EdgeConv):
    """`EdgeConv` on the graph of the k nearest neighbours in feature space. `torch_geometric.nn.DynamicEdgeConv`.

    Args:
        nn, aggr, kwargs: as for `EdgeConv`; `flow` is "source_to_target".
        k: neighbours of a node, itself among them.
        num_workers: plays no part; torch's number of threads counts.

    Shapes:
        x [N, in_channels] or a pair for sources and targets; batch integer [N] without decreasing, or a pair: nodes
        find neighbours among their own group -> [N, out_channels].

    Raises:
        as `ops.knn`; ValueError also for an x that is not [N, in_channels].
    """

    def __init__(self, nn: Callable, k: int, aggr: str = "max", num_workers: int = 1, **kwargs):
        super().__init__(nn, aggr, flow="source_to_target", **kwargs)
        self.k, self.num_workers = k, num_workers

    def forward(
        self,
        x: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
        batch: torch.Tensor | tuple[torch.Tensor | None, torch.Tensor | None] | None = None,
    ) -> torch.Tensor:
        pair = (x, x) if isinstance(x, torch.Tensor) else x
        if pair[0].dim() != 2:
            raise ValueError(f"DynamicEdgeConv: x is {list(pair[0].shape)}, expected [N, in_channels]")
        batches = batch if isinstance(batch, (tuple, list)) else (batch, batch)
        edge_index = ops.knn(*pair, self.k, *batches).flip(0)
        return super().forward(pair, Graph(edge_index, (pair[0].shape[0], pair[1].shape[0])))

    def __repr__(self) -> str:
        return f"DynamicEdgeConv(nn={self.nn}, k={self.k})"


def layers_of(nn: Callable) -> list[torch.nn.Module]:
    """The layers that `nn` runs one after the other; of what isn't exactly a `Sequential`, none are known."""
    return list(nn) if type(nn) in _SEQUENTIALS and unobserved(nn) else []


def is_linear(layer: torch.nn.Module) -> bool:
    return type(layer) in _LINEARS and unobserved(layer)


def begins_with_linear(layers: list[torch.nn.Module], in_features: int) -> bool:
    return bool(layers) and is_linear(layers[0]) and layers[0].in_features == in_features


def small_network(layers: list[torch.nn.Module], reduce: str) -> bool:
    """Whether these are Linear[, activation[, Linear]], or with a ReLU behind them, which commutes with a maximum."""
    if len(layers) == 4 and reduce == "max" and activation_name(layers[3]) == "relu":
        layers = layers[:3]
    if len(layers) > 1 and activation_name(layers[1]) is None:
        return False
    return len(layers) in (1, 2) or (len(layers) == 3 and is_linear(layers[2]))


def edge_network(p, q, graph: Graph, layers: list[torch.nn.Module], reduce: str) -> torch.Tensor:
    """What a `small_network` makes of edges, reduced by target; p and q are its first layer's parts for their ends."""
    activation = activation_name(layers[1]) if len(layers) > 1 else "none"
    if len(layers) < 3:
        return ops.edge_mlp(p, q, graph, None, None, activation, reduce)
    weight, bias = layers[2].weight.to(p.dtype), layers[2].bias
    out = ops.edge_mlp(p, q, graph, weight, None if bias is None else bias.to(p.dtype), activation, reduce)
    return out.relu() if len(layers) == 4 else out


def halves(linear: torch.nn.Linear, source: torch.Tensor, target: torch.Tensor, dtype: torch.dtype):
    """p [n_target, H] and q [n_source, H], whose sum is what `linear` makes of an edge."""
    weight, channels = linear.weight.to(dtype), target.shape[1]
    of_source = weight[:, channels:]
    bias = None if linear.bias is None else linear.bias.to(dtype)
    p = ops.linear(target.to(dtype), weight[:, :channels] - of_source, bias)
    return p, ops.linear(source.to(dtype), of_source)


def result_dtype(x: torch.Tensor) -> torch.dtype:
    """Of what linear layers make of `x`: that of autocast, where it is on."""
    kind = x.device.type
    lowered = torch.is_autocast_enabled(kind) and x.dtype in (torch.float32, torch.bfloat16, torch.float16)
    return torch.get_autocast_dtype(kind) if lowered else x.dtype
