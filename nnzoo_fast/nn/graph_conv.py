"""`GraphConv`: Morris et al., "Weisfeiler and Leman go neural: higher-order graph neural networks" (AAAI 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nnzoo_fast.graph import Graph
from nnzoo_fast.nn.activated import can_activate
from nnzoo_fast.nn.gcn_conv import along
from nnzoo_fast.nn.linear import Linear
from nnzoo_fast.nn.message_passing import MessagePassing


class GraphConv(MessagePassing):
    """x'[i] = W_rel aggr(weight * x[j] of the edges j -> i) + bias + W_root x[i]. `torch_geometric.nn.GraphConv`.

    Args:
        in_channels: features of a node, or (of a source, of a target).
        out_channels: features of a node in the result.
        aggr: a reduction that `MessagePassing` knows, or several.
        bias: W_rel has a bias.
        kwargs: other arguments of `MessagePassing`.

    Shapes:
        x [N, in_channels] or a pair for sources and targets, of which the second may be None; edge_index integer [2, E]
        or a `Graph`; edge_weight [E] in its order (by default the graph's, else 1); size the numbers of sources and
        targets -> [N, out_channels].
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        aggr: str | Sequence[str] = "add",
        bias: bool = True,
        **kwargs,
    ):
        super().__init__(aggr, **kwargs)
        self.in_channels, self.out_channels = in_channels, out_channels
        sizes = (in_channels, in_channels) if isinstance(in_channels, int) else in_channels
        self.lin_rel = Linear(sizes[0], out_channels, bias=bias)
        self.lin_root = Linear(sizes[1], out_channels, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as torch.nn.Linear does."""
        super().reset_parameters()
        self.lin_rel.reset_parameters()
        self.lin_root.reset_parameters()

    def forward(
        self,
        x: torch.Tensor | tuple[torch.Tensor, torch.Tensor | None],
        edge_index: torch.Tensor | Graph,
        edge_weight: torch.Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        if edge_weight is None and isinstance(edge_index, Graph):
            edge_weight = edge_index.edge_weight
        source, target = x if isinstance(x, (tuple, list)) else (x, x)
        out = self.propagate(edge_index, size=size, x=(source, target), edge_weight=edge_weight)
        out = self.lin_rel(out)
        if target is None:
            return out
        return (
            self.lin_root.activated(target, "none", out) if can_activate(self.lin_root) else out + self.lin_root(target)
        )

    def message(self, x_j: torch.Tensor, edge_weight: torch.Tensor | None = None) -> torch.Tensor:
        return x_j if edge_weight is None else along(edge_weight, self.node_dim) * x_j

    def message_and_aggregate(self, graph: Graph, x: tuple, edge_weight: torch.Tensor | None = None) -> torch.Tensor:
        return self.gather_scatter(x, graph, edge_weight)
