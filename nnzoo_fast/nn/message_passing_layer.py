"""`MessagePassingLayer`: h_u' = phi(h_u, aggregate over the edges v -> u of psi(h_u, h_v, e_uv)), psi and phi given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from nnzoo_fast.graph import Graph
from nnzoo_fast.nn.gin_conv import reset
from nnzoo_fast.nn.message_passing import MessagePassing
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

    Args:
        psi: a module or function of the receivers' and the senders' features [E, *] and edge_attr [E, *] or None, makes
            the messages [E, *]. `Joint` makes one of a network of all three.
        phi: a module or function of the nodes' features [N, *] and what they received [N, *], makes their new features.
        aggr: "sum", "mean", "max" or another reduction that `MessagePassing` knows, or several side by side.
        kwargs: other arguments of `MessagePassing`.

    Shapes:
        x [N, *] or a pair for senders and receivers; edge_index integer [2, E] (source, target) or a `Graph`; edge_attr
        [E, *] -> what phi makes.
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
        ends = rows_of_edges(target, graph, "target"), rows_of_edges(source, graph, "source")
        return self.aggregated(self.psi(*ends, edge_attr), graph)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(psi={self.psi}, phi={self.phi}, aggr={self.aggr!r})"
