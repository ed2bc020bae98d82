"""`NNConv`: Gilmer et al., "Neural message passing for quantum chemistry" (ICML 2017)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nnzoo_fast.graph import Graph
from nnzoo_fast.nn.gin_conv import reset
from nnzoo_fast.nn.linear import LazyLinear, Linear
from nnzoo_fast.nn.message_passing import MessagePassing
from nnzoo_fast.ops.gather_scatter.segments import rows_of_edges


class NNConv(MessagePassing):
    """x'[i] = W x[i] + aggr over the edges e = (j -> i) of x[j] nn(edge_attr[e]) + bias. `torch_geometric.nn.NNConv`.

    Args:
        in_channels: features of a node, or (of a source, of a target), of which the second may be -1 to take them from
            the first input.
        out_channels: features of a node in the result.
        nn: a module or function [E, edge features] -> [E, in_channels * out_channels], each edge's matrix.
        aggr: a reduction that `MessagePassing` knows, or several.
        root_weight: add W x[i].
        bias: add a learnt bias.
        kwargs: other arguments of `MessagePassing`.

    Shapes:
        x [N, in_channels] or a pair for sources and targets, of which the second may be None; edge_index integer [2, E]
        or a `Graph`; edge_attr [E, *]; size the numbers of sources and targets; matrices, what `nn` makes of edge_attr,
        where that is known, so that several calls share it -> [N, out_channels].

    Raises:
        ValueError: source features that are not known.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        nn: Callable,
        aggr: str = "add",
        root_weight: bool = True,
        bias: bool = True,
        **kwargs,
    ):
        super().__init__(aggr, **kwargs)
        self.in_channels, self.out_channels = in_channels, out_channels
        sizes = (in_channels, in_channels) if isinstance(in_channels, int) else in_channels
        if sizes[0] < 1:
            raise ValueError(f"NNConv: in_channels is {in_channels}, expected the number of features of a source")
        self.in_channels_l = sizes[0]
        self.nn, self.root_weight = nn, root_weight
        if root_weight and sizes[1] < 0:
            self.lin = LazyLinear(out_channels, bias=False)
        elif root_weight:
            self.lin = Linear(sizes[1], out_channels, bias=False)
        self.register_parameter("bias", torch.nn.Parameter(torch.empty(out_channels)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters of `nn`'s layers and W anew, W as torch.nn.Linear does; zeros for the bias."""
        super().reset_parameters()
        reset(self.nn)
        if self.root_weight:
            self.lin.reset_parameters()
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(
        self,
        x: torch.Tensor | tuple[torch.Tensor, torch.Tensor | None],
        edge_index: torch.Tensor | Graph,
        edge_attr: torch.Tensor | None = None,
        size: tuple[int, int] | None = None,
        matrices: torch.Tensor | None = None,
    ) -> torch.Tensor:
        pair = (x, x) if isinstance(x, torch.Tensor) else x
        out = self.propagate(edge_index, size=size, x=pair, edge_attr=edge_attr, matrices=matrices)
        if self.root_weight and pair[1] is not None:
            out = out + self.lin(pair[1])
        return out if self.bias is None else out + self.bias

    def message(
        self, x_j: torch.Tensor, edge_attr: torch.Tensor | None, matrices: torch.Tensor | None = None
    ) -> torch.Tensor:
        weight = self.nn(edge_attr) if matrices is None else matrices
        weight = weight.view(-1, self.in_channels_l, self.out_channels)
        return torch.matmul(x_j.unsqueeze(1), weight).squeeze(1)

    def message_and_aggregate(
        self, graph: Graph, x: tuple, edge_attr: torch.Tensor | None, matrices: torch.Tensor | None = None
    ) -> torch.Tensor:
        messages = self.message(rows_of_edges(x[0], graph, "source"), edge_attr, matrices)
        return self.aggregated(messages, graph)

    def __repr__(self) -> str:
        return f"NNConv({self.in_channels}, {self.out_channels}, aggr={self.aggr}, nn={self.nn})"
