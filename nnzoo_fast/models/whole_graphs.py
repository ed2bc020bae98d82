"""One answer for a whole graph: molecules, point clouds, and graphs whose nodes are pooled away."""

from __future__ import annotations

import itertools

import torch

from nnzoo_fast import nn
from nnzoo_fast.graph import Graph


class MPNN(nn.Module):
    """Message passing with edge features: Gilmer et al., "Neural message passing for quantum chemistry" (2017).

    A node's message is the mean over its edges of x[j] A(e), A a network that makes a matrix of each edge's features
    (`nn.NNConv`, with a weight and a bias for the node itself, outside the mean), then ReLU; a GRU, the same in each
    step, updates the node, and `nn.Set2Set` reads the graph. The paper sums messages (`aggr="add"`), without that
    weight. Keys are those of PyTorch Geometric's example for QM9, and so are the default sizes: 617,025 parameters.

    Args:
        in_channels: features of a node.
        edge_dim: features of an edge.
        out_channels: numbers told of a graph.
        hidden_channels: size of a node's state.
        edge_channels: hidden size of the network of edges.
        steps: rounds of messages.
        set2set_steps: questions that the readout asks.
        aggr: "mean", "add" or "max".
    """

    def __init__(
        self,
        in_channels: int = 11,
        edge_dim: int = 5,
        out_channels: int = 1,
        hidden_channels: int = 64,
        edge_channels: int = 128,
        steps: int = 3,
        set2set_steps: int = 3,
        aggr: str = "mean",
    ):
        super().__init__()
        size, self.steps = hidden_channels, steps
        self.lin0 = nn.Linear(in_channels, size)
        network = nn.Sequential(nn.Linear(edge_dim, edge_channels), nn.ReLU(), nn.Linear(edge_channels, size * size))
        self.conv = nn.NNConv(size, size, network, aggr=aggr)
        self.gru = nn.GRU(size, size)
        self.set2set = nn.Set2Set(size, set2set_steps)
        self.lin1 = nn.Linear(2 * size, size)
        self.lin2 = nn.Linear(size, out_channels)

    def forward(
        self,
        x: torch.Tensor,
        edge_index: torch.Tensor | Graph,
        edge_attr: torch.Tensor,
        batch: torch.Tensor | None = None,
        size: int | None = None,
    ) -> torch.Tensor:
        """[N, in_channels], int64 [2, E] (source, target) or a `Graph`, [E, edge_dim], the graph of each node int64 [N]
        (None: one graph) and their number -> [size, out_channels]."""
        if not isinstance(edge_index, Graph):
            edge_index = Graph(edge_index, x.shape[0])
        nodes, matrices = self.lin0(x).relu(), self.conv.nn(edge_attr)  # the same in each step
        state = nodes[None]
        for _ in range(self.steps):
            message = self.conv(nodes, edge_index, matrices=matrices).relu()
            nodes, state = self.gru(message[None], state)
            nodes = nodes[0]
        return self.lin2(self.lin1(self.set2set(nodes, batch, size)).relu())


class DGCNN(nn.Module):
    """Point clouds: Wang et al., "Dynamic graph CNN for learning on point clouds" (2019).

    Each layer joins every point with its k nearest in the features of the layer before (itself among them), and takes
    the maximum of leaky_relu(norm(W [x_i, x_j - x_i])): `nn.DynamicEdgeConv`, W without bias. All layers' results
    together go through one more, then the maximum and the mean over points through three linear layers. As published
    for ModelNet40: 1,809,576 parameters.

    Args:
        out_channels: classes.
        in_channels: coordinates of a point.
        k: neighbours of a point.
        channels: features of each layer's points.
        embedding: features that the readout sees.
        dropout: probability of dropping a value between the last layers.
    """

    def __init__(
        self,
        out_channels: int = 40,
        in_channels: int = 3,
        k: int = 20,
        channels: tuple[int, ...] = (64, 64, 128, 256),
        embedding: int = 1024,
        dropout: float = 0.5,
    ):
        super().__init__()
        pairs = itertools.pairwise((in_channels, *channels))
        self.convs = nn.ModuleList(nn.DynamicEdgeConv(_normed(2 * size, after), k) for size, after in pairs)
        self.conv = _normed(sum(channels), embedding)
        self.head = nn.Sequential(
            *_normed(2 * embedding, 512),
            nn.Dropout(dropout),
            *_normed(512, 256, bias=True),
            nn.Dropout(dropout),
            nn.Linear(256, out_channels),
        )

    def forward(self, x: torch.Tensor, batch: torch.Tensor | None = None, size: int | None = None) -> torch.Tensor:
        """Points [N, in_channels], the cloud of each int64 [N] without decreasing (None: one cloud) and their number ->
        logits [size, out_channels]."""
        found = []
        for conv in self.convs:
            x = conv(x, batch)
            found.append(x)
        x = self.conv(torch.cat(found, dim=-1))
        return self.head(readout(x, batch, size))


def _normed(size: int, after: int, bias: bool = False) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, after, bias), nn.BatchNorm1d(after), nn.LeakyReLU(0.2))


def readout(x: torch.Tensor, batch: torch.Tensor | None, size: int | None = None) -> torch.Tensor:
    """The maximum and the mean of each graph's nodes, [size, 2 * features]."""
    return torch.cat([nn.global_max_pool(x, batch, size), nn.global_mean_pool(x, batch, size)], dim=-1)


POOLINGS = {"topk": nn.TopKPooling, "sag": nn.SAGPooling, "global": None}
"""What `pooling` names."""


class GraphClassifier(nn.Module):
    """Graphs in classes: Cangea et al., "Towards sparse hierarchical graph classifiers" (2018).

    After each convolution (`nn.GraphConv`: the sum over neighbours, and a weight of its own for the node) and ReLU, the
    best nodes stay, by a learnt direction ("topk") or by a convolution's scores ("sag", Lee et al., 2019), or all
    ("global"). The maximum and the mean over what stays are read behind every layer, summed, and go through three
    linear layers. The paper's convolution takes the mean over neighbours (`aggr="mean"`). Sizes are those of PyTorch
    Geometric's example for PROTEINS: 108,354 parameters.

    Args:
        in_channels: features of a node.
        out_channels: classes.
        hidden_channels: features of a node between layers.
        num_layers: convolutions, each with a pooling.
        pooling: "topk", "sag" or "global".
        ratio: the part of a graph's nodes that a pooling keeps.
        dropout: probability of dropping a value before the last two layers.
        kwargs: arguments of every `nn.GraphConv`, such as `aggr`.

    Raises:
        ValueError: no layers, or an unknown pooling.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 2,
        hidden_channels: int = 128,
        num_layers: int = 3,
        pooling: str = "topk",
        ratio: float = 0.8,
        dropout: float = 0.5,
        **kwargs,
    ):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"GraphClassifier: num_layers must be at least 1, got {num_layers}")
        if pooling not in POOLINGS:
            raise ValueError(f"GraphClassifier: pooling is {pooling!r}, expected {', '.join(POOLINGS)}")
        size, kind = hidden_channels, POOLINGS[pooling]
        sizes = [in_channels, *[size] * num_layers]
        self.convs = nn.ModuleList(nn.GraphConv(*pair, **kwargs) for pair in itertools.pairwise(sizes))
        self.pools = nn.ModuleList(nn.Identity() if kind is None else kind(size, ratio) for _ in self.convs)
        self.lin1 = nn.Linear(2 * size, size)
        self.lin2 = nn.Linear(size, size // 2)
        self.lin3 = nn.Linear(size // 2, out_channels)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: torch.Tensor,
        edge_index: torch.Tensor | Graph,
        batch: torch.Tensor | None = None,
        size: int | None = None,
    ) -> torch.Tensor:
        """[N, in_channels], int64 [2, E] (source, target) or a `Graph`, the graph of each node int64 [N] (None: one
        graph) and their number -> logits [size, out_channels]."""
        graph = edge_index if isinstance(edge_index, Graph) else Graph(edge_index, x.shape[0])
        if batch is None:
            batch, size = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device), 1 if size is None else size
        if size is None:
            size = int(batch.max()) + 1 if batch.numel() else 0
        found = 0
        for conv, pool in zip(self.convs, self.pools, strict=True):
            x = conv(x, graph).relu()
            if not isinstance(pool, nn.Identity):
                x, graph, _, batch, *_ = pool(x, graph, None, batch)
            found = found + readout(x, batch, size)
        found = self.dropout(self.lin1(found).relu())
        return self.lin3(self.lin2(found).relu())
