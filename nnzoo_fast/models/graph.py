"""Graph networks: each node learns from the nodes that point at it."""

from __future__ import annotations

import torch

from nnzoo_fast import nn
from nnzoo_fast.graph import Graph


class _Stack(nn.Module):
    """Graph convolutions with ReLU and dropout between them; parameters are named as in PyTorch Geometric's
    `torch_geometric.nn.models`."""

    def __init__(self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int, dropout: float):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"{type(self).__name__}: num_layers must be at least 1, got {num_layers}")
        sizes = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        self.dropout = nn.Dropout(dropout)
        pairs = list(zip(sizes, sizes[1:], strict=False))
        self.convs = nn.ModuleList(
            self.convolution(*pair, number == len(pairs) - 1) for number, pair in enumerate(pairs)
        )

    def convolution(self, in_channels: int, out_channels: int, is_last: bool) -> nn.MessagePassing:
        """A layer of the stack."""
        raise NotImplementedError

    def run(self, x: torch.Tensor, edge_index: torch.Tensor | Graph, *edges: torch.Tensor | None) -> torch.Tensor:
        for conv in self.convs[:-1]:
            x = self.dropout(conv(x, edge_index, *edges).relu())
        return self.convs[-1](x, edge_index, *edges)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor | Graph) -> torch.Tensor:
        """[N, in_channels] and int64 [2, E] (source, target) or a `Graph` -> logits [N, out_channels]."""
        return self.run(x, edge_index)


class GCN(_Stack):
    """Graph convolutional network: Kipf and Welling, "Semi-supervised classification with graph convolutional networks"
    (2017).

    Each layer adds self-loops and divides by the degrees.

    Args:
        in_channels: features of a node.
        hidden_channels: features of a node between layers.
        num_layers: number of graph convolutions.
        out_channels: size of the output.
        dropout: probability of dropping a value between layers.
        kwargs: arguments of every `GCNConv`; `cached=True` where the graph never changes.
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int, dropout: float = 0.0, **kwargs
    ):
        self._options = kwargs
        super().__init__(in_channels, hidden_channels, num_layers, out_channels, dropout)

    def convolution(self, in_channels, out_channels, is_last):
        return nn.GCNConv(in_channels, out_channels, **self._options)

    def forward(
        self, x: torch.Tensor, edge_index: torch.Tensor | Graph, edge_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[N, in_channels], int64 [2, E] (source, target) or a `Graph`, and [E] -> logits [N, out_channels]."""
        return self.run(x, edge_index, edge_weight)


class GraphSAGE(_Stack):
    """Hamilton et al., "Inductive representation learning on large graphs" (2017).

    W_l mean(x_j) + W_r x_i: the bias stands outside the neighbours' mean.

    Args:
        kwargs: arguments of every `SAGEConv`, such as `aggr="max"`.
        others: as for `GCN`.
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int, dropout: float = 0.0, **kwargs
    ):
        self._options = kwargs
        super().__init__(in_channels, hidden_channels, num_layers, out_channels, dropout)

    def convolution(self, in_channels, out_channels, is_last):
        return nn.SAGEConv(in_channels, out_channels, **self._options)


class GAT(_Stack):
    """Velickovic et al., "Graph attention networks" (2018), or with `v2` Brody et al., "How attentive are graph
    attention networks?" (2022).

    Heads share the hidden channels; those of the last layer have
    `out_channels` each, and their mean is taken.

    Args:
        heads: attention heads of a layer, a divisor of `hidden_channels`.
        v2: score by a layer of both nodes together.
        dropout: also the probability of dropping an attention weight.
        kwargs: arguments of every `GATConv` or `GATv2Conv`.
        others: as for `GCN`.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        dropout: float = 0.0,
        heads: int = 1,
        v2: bool = False,
        **kwargs,
    ):
        if hidden_channels % heads:
            raise ValueError(f"GAT: hidden_channels {hidden_channels} is no multiple of heads {heads}")
        self._kind, self._options = (nn.GATv2Conv if v2 else nn.GATConv), dict(heads=heads, dropout=dropout, **kwargs)
        super().__init__(in_channels, hidden_channels, num_layers, out_channels, dropout)

    def convolution(self, in_channels, out_channels, is_last):
        size = out_channels if is_last else out_channels // self._options["heads"]
        return self._kind(in_channels, size, concat=not is_last, **self._options)

    def forward(
        self, x: torch.Tensor, edge_index: torch.Tensor | Graph, edge_attr: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[N, in_channels], int64 [2, E] (source, target) or a `Graph`, [E, edge_dim] -> logits [N, out_channels]."""
        return self.run(x, edge_index, edge_attr)


class GIN(_Stack):
    """Graph isomorphism network: Xu et al., "How powerful are graph neural networks?" (2019).

    Each layer is f((1 + eps) x_i + sum of x_j), f two linear layers with ReLU between them.

    Args:
        kwargs: arguments of every `GINConv`, such as `train_eps=True`.
        others: as for `GCN`.
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int, dropout: float = 0.0, **kwargs
    ):
        self._options = kwargs
        super().__init__(in_channels, hidden_channels, num_layers, out_channels, dropout)

    def convolution(self, in_channels, out_channels, is_last):
        return nn.GINConv(_Perceptron(in_channels, out_channels), **self._options)


class _Perceptron(nn.Module):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.lins = nn.ModuleList([nn.Linear(in_channels, out_channels), nn.Linear(out_channels, out_channels)])

    def reset_parameters(self) -> None:
        for layer in self.lins:
            layer.reset_parameters()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.lins
        return second(first(x).relu())
