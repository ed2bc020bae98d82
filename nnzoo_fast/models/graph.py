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

    Each layer is D^-1/2 (A + I) D^-1/2 x W + bias, D the degrees of A + I: a node is its own neighbour, the sum is
    weighted by both ends' degrees (no mean over neighbours), and the bias stands outside it. With (1433, 16, 2, 7), as
    published for Cora: 23,063 parameters.

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

    Each layer is W_l mean(x_j) + bias + W_r x_i: the mean is over neighbours alone, a node has a weight of its own in
    place of a self-loop, and the bias stands outside the mean, so that a node without neighbours has it too. The paper
    then scales every result to length 1: `normalize=True`. With (602, 256, 2, 41) for Reddit: 329,513 parameters.

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

    Each layer is the sum of a[i, j] W x_j over the neighbours of i and i itself, a the softmax of leaky_relu(<att_src,
    W x_j> + <att_dst, W x_i>) over them, plus a bias. Heads share the hidden channels; those of the last layer have
    `out_channels` each, and their mean is taken. Between layers stands ReLU, where the paper has ELU. With (500, 64, 2,
    3, heads=8), the sizes published for Pubmed: 33,779 parameters.

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


class GATv2(GAT):
    """Brody et al., "How attentive are graph attention networks?" (2022): `GAT` with `v2`.

    A score is <att, leaky_relu(L x[j] + R x[i])>: every node may rank its neighbours differently, where `GAT`, whose
    scores are a sum of a part for each, ranks them alike for all. With (128, 256, 3, 40, heads=8) for ogbn-arxiv:
    363,496 parameters.

    Args:
        as for `GAT`.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, v2=True, **kwargs)


class GIN(_Stack):
    """Graph isomorphism network: Xu et al., "How powerful are graph neural networks?" (2019).

    Each layer is f((1 + eps) x_i + sum of x_j), f two linear layers with ReLU between them: the sum (no mean, which
    can't tell how many neighbours there are) is of neighbours alone, and both biases stand outside it. eps is 0 unless
    `train_eps`. With (7, 64, 5, 64): 37,952 parameters.

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
