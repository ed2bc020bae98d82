"""`MessagePassingLayer`: h_u' = phi(h_u, aggregate over the edges v -> u of psi(h_u, h_v, e_uv)), psi and phi given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from nnzoo_fast import ops
from nnzoo_fast.graph import Graph
from nnzoo_fast.nn.activated import unobserved
from nnzoo_fast.nn.edge_conv import (
    REDUCES_OF_EDGES,
    begins_with_linear,
    edge_network,
    layers_of,
    result_dtype,
    small_network,
)
from nnzoo_fast.nn.gin_conv import reset
from nnzoo_fast.nn.message_passing import MessagePassing
from nnzoo_fast.nn.sequential import step
from nnzoo_fast.ops.gather_scatter.segments import rows_of_edges


class Joint(torch.nn.Module):
    """A network of several tensors side by side: network([parts]), without those that are None.

    Args:
        network: a module [*, the sum of the parts' features] -> [*, out].
    """

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *parts: torch.Tensor | None) -> torch.Tensor:
        return self.network(torch.cat([part for part in parts if part is not None], dim=-1))


class MessagePassingLayer(MessagePassing):
    """h_u' = phi(h_u, aggregate over the edges v -> u of psi(h_u, h_v, e_uv)): what all message passing has in common.

    Gilmer et al., "Neural message passing for quantum chemistry" (2017); Battaglia et al. (2018) write phi^e for psi
    and rho for the aggregation. A node without edges receives 0, whatever the aggregation.

    Of a psi that is `Joint` of a `Sequential` that begins with a `Linear`, that is split into a part for each end of an
    edge, applied to nodes, and one for the edge itself. Where there is none of the last, all that follows is an
    activation and perhaps a `Linear`, and `aggr` is "sum", "mean" or "max", no row of an edge is stored: see
    `ops.edge_mlp`.

    Args:
        psi: a module or function of the receivers' and the senders' features [E, *] and edge_attr [E, *] or None, makes
            the messages [E, *]. `Joint` makes one of a network of all three.
        phi: a module or function of the nodes' features [N, *] and what they received [N, *], makes their new features.
        aggr: "sum", "mean", "max" or another reduction that `MessagePassing` knows, or several side by side.
        kwargs: other arguments of `MessagePassing`.

    Shapes:
        x [*, N, features] or a pair for senders and receivers; edge_index integer [2, E] (source, target) or a `Graph`;
        edge_attr [E, *], or [*, E, features] as x -> what phi makes.

    Raises:
        as `MessagePassing.propagate`; ValueError also for an `edge_attr` of another number of edges.
    """

    def __init__(self, psi: Callable, phi: Callable, aggr: str | Sequence[str] = "sum", **kwargs):
        super().__init__(aggr, **kwargs)
        self.psi, self.phi = psi, phi

    def reset_parameters(self) -> None:
        """Draws the parameters of psi and phi anew."""
        super().reset_parameters()
        reset(self.psi)
        reset(self.phi)

    def forward(
        self,
        x: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
        edge_index: torch.Tensor | Graph,
        edge_attr: torch.Tensor | None = None,
    ) -> torch.Tensor:
        pair = (x, x) if isinstance(x, torch.Tensor) else x
        return self.phi(pair[1], self.received(pair, edge_index, edge_attr))

    def received(
        self, pair: tuple[torch.Tensor, torch.Tensor], edge_index: torch.Tensor | Graph, edge_attr: torch.Tensor | None
    ) -> torch.Tensor:
        """The messages of all edges, aggregated at their receivers."""
        return self.propagate(edge_index, x=pair, edge_attr=edge_attr)

    def message(self, x_i: torch.Tensor, x_j: torch.Tensor, edge_attr: torch.Tensor | None = None) -> torch.Tensor:
        return self.psi(x_i, x_j, edge_attr)

    def message_and_aggregate(self, graph: Graph, x: tuple, edge_attr: torch.Tensor | None = None) -> torch.Tensor:
        source, target = x
        if edge_attr is not None and graph.num_edges not in (
            *edge_attr.shape[:1],
            *edge_attr.shape[self.node_dim :][:1],
        ):
            name, expected = type(self).__name__, f"expected {graph.num_edges} rows, one for each edge"
            raise ValueError(f"{name}: edge_attr is {list(edge_attr.shape)}, {expected}")
        parts = [target, source] if edge_attr is None else [target, source, edge_attr]
        layers = layers_of(self.psi.network) if type(self.psi) is Joint and unobserved(self.psi) else []
        few = graph.num_edges < graph.num_sources + graph.num_targets
        rows = all(part.dim() == 2 for part in parts)
        if few or not rows or not begins_with_linear(layers, sum(part.shape[1] for part in parts)):
            dim, ends = self.node_dim, ((target, "target"), (source, "source"))
            x_i, x_j = (rows_of_edges(part.movedim(dim, 0), graph, end).movedim(0, dim) for part, end in ends)
            return self.aggregated(self.psi(x_i, x_j, edge_attr), graph)
        # What was one product, rounded once, is a sum here: bfloat16 would round its parts.
        dtype = torch.float32 if target.dtype == torch.bfloat16 else target.dtype
        p, q, *of_edge = _products(layers[0], parts, dtype)
        reduce = REDUCES_OF_EDGES.get(self.aggr) if isinstance(self.aggr, str) else None
        if reduce is not None and not of_edge and small_network(layers, reduce):
            return edge_network(p, q, graph, layers, reduce).to(result_dtype(target))
        hidden = rows_of_edges(p, graph, "target") + rows_of_edges(q, graph, "source")
        hidden, position = sum(of_edge, hidden).to(result_dtype(target)), 1
        while position < len(layers):
            hidden, position = step(layers, position, hidden)
        return self.aggregated(hidden, graph)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(psi={self.psi}, phi={self.phi}, aggr={self.aggr!r})"


def _products(linear: torch.nn.Linear, parts: list[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    """Of each part its product with its columns of the weight, of the first with the bias."""
    weights = linear.weight.to(dtype).split([part.shape[1] for part in parts], dim=1)
    bias = None if linear.bias is None else linear.bias.to(dtype)
    biases = [bias, *[None] * (len(parts) - 1)]
    return [ops.linear(part.to(dtype), *each) for part, *each in zip(parts, weights, biases, strict=True)]
