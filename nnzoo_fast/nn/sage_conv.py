"""`SAGEConv`: Hamilton et al., "Inductive representation learning on large graphs" (NIPS 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import normalize

from nnzoo_fast.graph import Graph
from nnzoo_fast.nn.activated import can_activate
from nnzoo_fast.nn.linear import Linear
from nnzoo_fast.nn.message_passing import MessagePassing


class SAGEConv(MessagePassing):
    """x'[i] = W_l aggr(x[j] of the edges j -> i) + W_r x[i]. `torch_geometric.nn.SAGEConv`.

    Args:
        in_channels: features of a node, or (of a source, of a target).
        out_channels: features of a node in the result.
        aggr: a reduction that `MessagePassing` knows, or several.
        normalize: scale each result to length 1.
        root_weight: add W_r x[i].
        project: send relu(W x[j] + b) instead of x[j].
        bias: W_l has a bias.
        kwargs: other arguments of `MessagePassing`.

    Shapes:
        x [N, in_channels] or a pair for sources and targets, of which the second may be None; edge_index integer [2, E]
        or a `Graph`; size the numbers of sources and targets -> [N, out_channels].
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        aggr: str | Sequence[str] = "mean",
        normalize: bool = False,
        root_weight: bool = True,
        project: bool = False,
        bias: bool = True,
        **kwargs,
    ):
        super().__init__(aggr, **kwargs)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.normalize, self.root_weight, self.project = normalize, root_weight, project
        sizes = (in_channels, in_channels) if isinstance(in_channels, int) else in_channels
        if project:
            self.lin = Linear(sizes[0], sizes[0], bias=True)
        parts = 1 if isinstance(aggr, str) else len(aggr)
        self.lin_l = Linear(parts * sizes[0], out_channels, bias=bias)
        if root_weight:
            self.lin_r = Linear(sizes[1], out_channels, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as torch.nn.Linear does."""
        super().reset_parameters()
        if self.project:
            self.lin.reset_parameters()
        self.lin_l.reset_parameters()
        if self.root_weight:
            self.lin_r.reset_parameters()

    def forward(
        self,
        x: torch.Tensor | tuple[torch.Tensor, torch.Tensor | None],
        edge_index: torch.Tensor | Graph,
        size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        source, target = x if isinstance(x, (tuple, list)) else (x, x)
        if self.project:
            source = self.lin(source).relu()
        out = self.lin_l(self.propagate(edge_index, size=size, x=(source, target)))
        if self.root_weight and target is not None:
            fused = can_activate(self.lin_r)
            out = self.lin_r.activated(target, "none", out) if fused else out + self.lin_r(target)
        return normalize(out, p=2.0, dim=-1) if self.normalize else out

    def __repr__(self) -> str:
        return f"SAGEConv({self.in_channels}, {self.out_channels}, aggr={self.aggr})"
