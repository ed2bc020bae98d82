"""Trains GCN and GAT on Cora, on our layers and on PyTorch Geometric's, with the dropout of their papers.

    NNZOO_DATA=DIR python bench/cora.py [--seeds 5] [--steps 200]

prints the test accuracy of each seed and whether the two means lie within the spread of seeds. Dropout draws other
numbers on the two sides, so single trainings differ; `tests/test_cora.py` compares them step by step without dropout.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from nnzoo_fast import Graph, data, nn


class Network(torch.nn.Module):
    """Two layers of `layers`, ours or PyTorch Geometric's; "GCN" of Kipf and Welling or "GAT" of Velickovic et al."""

    def __init__(self, layers, kind: str, features: int, classes: int, dropout: float | None = None):
        super().__init__()
        self.kind = kind
        self.dropout = {"GCN": 0.5, "GAT": 0.6}[kind] if dropout is None else dropout
        if kind == "GCN":
            self.first, self.second = layers.GCNConv(features, 16), layers.GCNConv(16, classes)
        else:
            self.first = layers.GATConv(features, 8, heads=8, dropout=self.dropout)
            self.second = layers.GATConv(64, classes, heads=1, concat=False, dropout=self.dropout)

    def forward(self, x: torch.Tensor, edges: torch.Tensor | Graph) -> torch.Tensor:
        """[N, features] and the edges as `layers` take them -> logits [N, classes]."""
        x = self.first(F.dropout(x, self.dropout, self.training), edges)
        x = F.relu(x) if self.kind == "GCN" else F.elu(x)
        return self.second(F.dropout(x, self.dropout, self.training), edges)


def optimizer(network: Network) -> torch.optim.Optimizer:
    """Adam with the papers' rates; GCN's weight decay is for its first layer only."""
    if network.kind == "GAT":
        return torch.optim.Adam(network.parameters(), 0.005, weight_decay=5e-4)
    groups = [{"params": network.first.parameters(), "weight_decay": 5e-4}, {"params": network.second.parameters()}]
    return torch.optim.Adam(groups, 0.01)


def losses(network: Network, graph: data.GraphData, edges: torch.Tensor | Graph, steps: int) -> Iterator[float]:
    """The training loss of each step."""
    adam = optimizer(network)
    labels = graph.labels[graph.train_mask]
    for _ in range(steps):
        adam.zero_grad()
        loss = F.cross_entropy(network(graph.features, edges)[graph.train_mask], labels)
        loss.backward()
        adam.step()
        yield loss.item()


def accuracy(network: Network, graph: data.GraphData, edges: torch.Tensor | Graph) -> float:
    """The part of the test nodes that the network labels right."""
    network.eval()
    with torch.no_grad():
        right = network(graph.features, edges).argmax(1) == graph.labels
    return right[graph.test_mask].float().mean().item()


def main() -> None:
    from torch_geometric import nn as pyg

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    graph = data.graph()
    sides = {"nnzoo_fast": (nn, Graph(graph.edge_index, len(graph.labels))), "torch_geometric": (pyg, graph.edge_index)}
    print(graph.source)
    for kind in ("GCN", "GAT"):
        found = {}
        for name, (layers, edges) in sides.items():
            found[name] = []
            for seed in range(options.seeds):
                torch.manual_seed(seed)
                network = Network(layers, kind, graph.features.shape[1], graph.classes)
                for _ in losses(network, graph, edges, options.steps):
                    pass
                found[name].append(accuracy(network, graph, edges))
            shown = " ".join(f"{value:.3f}" for value in found[name])
            print(f"{kind} {name}: {shown}; mean {statistics.mean(found[name]):.4f}", flush=True)
        ours, theirs = found.values()
        apart = abs(statistics.mean(ours) - statistics.mean(theirs))
        spread = max(*ours, *theirs) - min(*ours, *theirs)
        verdict = "within" if apart <= spread else "MORE THAN"
        print(f"{kind}: means differ by {apart:.4f}, {verdict} the spread {spread:.4f}")


if __name__ == "__main__":
    main()
