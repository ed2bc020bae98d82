"""`TopKPooling` and `SAGPooling`: graphs of the nodes that score best."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from nnzoo_fast import ops
from nnzoo_fast.graph import Graph, check_edge_index
from nnzoo_fast.graph_edits import edges_among
from nnzoo_fast.nn.global_pool import members
from nnzoo_fast.nn.graph_conv import GraphConv

_FUNCTIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}
_BELOW_MAX = 1e-7  # of the best score: so much lower still stays, whatever `min_score` is

Pooled = tuple[torch.Tensor, torch.Tensor | Graph, torch.Tensor | None, torch.Tensor, torch.Tensor, torch.Tensor]


class SelectTopK(torch.nn.Module):
    """The best nodes of each graph by a learnt projection w. `torch_geometric.nn.pool.select.SelectTopK`.

    Scores are act(<x, w> / |w|), or with `min_score` the softmax of <x, w> over a graph's nodes.
    """

    def __init__(self, in_channels: int, ratio: float | None, min_score: float | None, act: str | Callable):
        super().__init__()
        if ratio is None and min_score is None:
            raise ValueError("SelectTopK: ratio and min_score are both None, expected one of them")
        if isinstance(act, str) and act not in _FUNCTIONS:
            raise ValueError(f"SelectTopK: nonlinearity is {act!r}, expected {', '.join(_FUNCTIONS)} or a function")
        self.in_channels, self.ratio, self.min_score = in_channels, ratio, min_score
        self.act = _FUNCTIONS[act] if isinstance(act, str) else act
        self.weight = torch.nn.Parameter(torch.empty(1, in_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform within 1 / sqrt(in_channels)."""
        bound = 1 / math.sqrt(self.in_channels)
        torch.nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: torch.Tensor, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The nodes that stay, best first where `ratio` decides, graph by graph, and their scores."""
        score = (x * self.weight).sum(dim=-1)  # not a product of matrices, whose rounding depends on a row's place
        if self.min_score is None:
            score = self.act(score / self.weight.norm(p=2, dim=-1))
            nodes = best(score.detach(), self.ratio, batch)
        else:
            score = ops.edge_softmax(score, members(batch))
            highest = ops.scatter(score.detach(), batch, reduce="max")[batch] - _BELOW_MAX
            nodes = (score > highest.clamp(max=self.min_score)).nonzero()[:, 0]
        return nodes, score[nodes]

    def __repr__(self) -> str:
        limit = f"ratio={self.ratio}" if self.min_score is None else f"min_score={self.min_score}"
        return f"SelectTopK({self.in_channels}, {limit})"


def best(score: torch.Tensor, ratio: float, batch: torch.Tensor) -> torch.Tensor:
    """Of each graph the ceil(ratio * nodes) nodes of highest score, or `ratio` of them from 1 on; earlier of equals.

    The product is rounded as PyTorch Geometric rounds it, to the scores' dtype, but to float32 at the least: it would
    keep 300 of 601 nodes by half where scores are bfloat16, which has no 601.
    """
    count = batch.bincount()
    rounded = torch.promote_types(score.dtype, torch.float32)
    most = torch.full_like(count, int(ratio)) if ratio >= 1 else (ratio * count.to(rounded)).ceil().long()
    order = score.argsort(descending=True, stable=True)
    order = order[batch[order].argsort(stable=True)]
    group = batch[order]
    place = torch.arange(order.shape[0], device=order.device) - (count.cumsum(0) - count)[group]
    return order[place < most[group]]


class TopKPooling(torch.nn.Module):
    """Keeps the nodes that score best, times their scores. `torch_geometric.nn.TopKPooling`.

    Gao and Ji, "Graph U-Nets" (2019); Cangea et al., "Towards sparse hierarchical graph classifiers" (2018).

    Args:
        in_channels: features of a node.
        ratio: the part of each graph's nodes that stays, rounded up, or from 1 on their number.
        min_score: instead of `ratio`, nodes stay whose softmax is higher; a graph's best node always does.
        multiplier: what features are multiplied by beside the score.
        nonlinearity: of scores, "tanh", "sigmoid", "relu" or a function; plays no part with `min_score`.

    Shapes:
        x [N, in_channels]; edge_index integer [2, E] or a `Graph`; edge_attr [E, *]; batch int64 [N], the graph of each
        node, None: one graph; attn [N, in_channels], scored in place of x -> what is left of (x, edge_index, edge_attr,
        batch), the nodes that stay int64 [kept], their scores [kept]. Of a `Graph`, the second is a `Graph`, with its
        own edge weights. Nodes stand graph by graph, best first (with `min_score` in their order).

    Raises:
        ValueError: neither `ratio` nor `min_score`, an unknown `nonlinearity`, or an edge_index of another shape.
        IndexError: a node out of range.
    """

    def __init__(
        self,
        in_channels: int,
        ratio: float = 0.5,
        min_score: float | None = None,
        multiplier: float = 1.0,
        nonlinearity: str | Callable = "tanh",
    ):
        super().__init__()
        self.in_channels, self.ratio = in_channels, ratio
        self.min_score, self.multiplier = min_score, multiplier
        self.select = SelectTopK(in_channels, ratio, min_score, nonlinearity)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the projection anew."""
        self.select.reset_parameters()

    def forward(
        self,
        x: torch.Tensor,
        edge_index: torch.Tensor | Graph,
        edge_attr: torch.Tensor | None = None,
        batch: torch.Tensor | None = None,
        attn: torch.Tensor | None = None,
    ) -> Pooled:
        batch = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device) if batch is None else batch
        attn = x if attn is None else attn
        nodes, score = self.select(self.scored(attn.view(-1, 1) if attn.dim() == 1 else attn, edge_index), batch)
        x = x[nodes] * score.view(-1, 1)
        x = self.multiplier * x if self.multiplier != 1 else x
        if isinstance(edge_index, Graph):
            edge_index, edges = edge_index.subgraph(nodes)
        else:
            check_edge_index(edge_index, type(self).__name__)
            count = batch.shape[0]
            if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < count:
                where = f"out of range, expected 0 <= i < {count}"
                raise IndexError(f"{type(self).__name__}: edge_index holds a node {where}")
            edge_index, edges = edges_among(edge_index, nodes, count)
        return x, edge_index, None if edge_attr is None else edge_attr[edges], batch[nodes], nodes, score

    def scored(self, x: torch.Tensor, edge_index: torch.Tensor | Graph) -> torch.Tensor:
        """What the projection is applied to."""
        return x

    def _limit(self) -> str:
        return f"ratio={self.ratio}" if self.min_score is None else f"min_score={self.min_score}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self._limit()}, multiplier={self.multiplier})"


class SAGPooling(TopKPooling):
    """`TopKPooling` by scores that a graph convolution makes. `torch_geometric.nn.SAGPooling`.

    Lee et al., "Self-attention graph pooling" (2019).

    Args:
        GNN: the class of the convolution, called as GNN(in_channels, 1, **kwargs).
        kwargs: other arguments of that class.
        others, and shapes: as for `TopKPooling`.
    """

    def __init__(
        self,
        in_channels: int,
        ratio: float = 0.5,
        GNN: Callable[..., torch.nn.Module] = GraphConv,
        min_score: float | None = None,
        multiplier: float = 1.0,
        nonlinearity: str | Callable = "tanh",
        **kwargs,
    ):
        torch.nn.Module.__init__(self)
        self.in_channels, self.ratio = in_channels, ratio
        self.min_score, self.multiplier = min_score, multiplier
        self.gnn = GNN(in_channels, 1, **kwargs)
        self.select = SelectTopK(1, ratio, min_score, nonlinearity)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters of the convolution and of the projection anew."""
        self.gnn.reset_parameters()
        self.select.reset_parameters()

    def scored(self, x: torch.Tensor, edge_index: torch.Tensor | Graph) -> torch.Tensor:
        return self.gnn(x, edge_index)

    def __repr__(self) -> str:
        kind = type(self.gnn).__name__
        return f"SAGPooling({kind}, {self.in_channels}, {self._limit()}, multiplier={self.multiplier})"
