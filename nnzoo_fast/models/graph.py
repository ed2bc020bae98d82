"""Graph networks: each node learns from the nodes that point at it."""

import torch

from nnzoo_fast import nn
from nnzoo_fast.graph import Graph


class GCN(nn.Module):
    """Graph convolutional network: Kipf and Welling, "Semi-supervised classification with graph convolutional networks"
    (2017).

    Parameters are named as in PyTorch Geometric's `torch_geometric.nn.models.GCN`.

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
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"GCN: num_layers must be at least 1, got {num_layers}")
        sizes = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        pairs = zip(sizes, sizes[1:], strict=False)
        self.convs = nn.ModuleList(nn.GCNConv(size, next_size, **kwargs) for size, next_size in pairs)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: torch.Tensor, edge_index: torch.Tensor | Graph, edge_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[N, in_channels] and int64 [2, E] (source, target) or a `Graph` -> logits [N, out_channels]."""
        for conv in self.convs[:-1]:
            x = self.dropout(conv(x, edge_index, edge_weight).relu())
        return self.convs[-1](x, edge_index, edge_weight)
