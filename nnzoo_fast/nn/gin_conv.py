"""`GINConv`: Xu et al., "How powerful are graph neural networks?" (ICLR 2019)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nnzoo_fast.graph import Graph
from nnzoo_fast.nn.message_passing import MessagePassing


class GINConv(MessagePassing):
    """x'[i] = nn((1 + eps) x[i] + sum of x[j] over the edges j -> i). `torch_geometric.nn.GINConv`.

    Args:
        nn: a module or function [N, in_channels] -> [N, out_channels].
        eps: the first value of eps.
        train_eps: eps is a parameter, else a buffer.
        kwargs: arguments of `MessagePassing`; `aggr` is "add" by default.

    Shapes:
        x [N, in_channels] or a pair for sources and targets, of which the second may be None; edge_index integer [2, E]
        or a `Graph`; size the numbers of sources and targets -> [N, out_channels].
    """

    def __init__(self, nn: Callable, eps: float = 0.0, train_eps: bool = False, **kwargs):
        kwargs.setdefault("aggr", "add")
        super().__init__(**kwargs)
        self.nn = nn
        self.initial_eps = eps
        if train_eps:
            self.eps = torch.nn.Parameter(torch.empty(1))
        else:
            self.register_buffer("eps", torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters of `nn`'s layers anew, and gives eps its first value."""
        super().reset_parameters()
        reset(self.nn)
        self.eps.data.fill_(self.initial_eps)

    def forward(
        self,
        x: torch.Tensor | tuple[torch.Tensor, torch.Tensor | None],
        edge_index: torch.Tensor | Graph,
        size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        source, target = x if isinstance(x, (tuple, list)) else (x, x)
        out = self.propagate(edge_index, size=size, x=(source, target))
        return self.nn(out if target is None else out + (1 + self.eps) * target)

    def __repr__(self) -> str:
        return f"GINConv(nn={self.nn})"


def reset(layer: object) -> None:
    """Draws the parameters of a module anew, or of those inside it that can."""
    if hasattr(layer, "reset_parameters"):
        layer.reset_parameters()
    elif isinstance(layer, torch.nn.Module):
        for child in layer.children():
            reset(child)
