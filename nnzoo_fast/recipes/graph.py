"""Classify the nodes of a graph from few labels: GCN."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

from nnzoo_fast import Graph, models
from nnzoo_fast.data import GraphData
from nnzoo_fast.recipes.recipe import Batch, Recipe


def gcn(data: GraphData) -> Recipe:
    """The whole graph is one batch, as in Kipf and Welling (2017), here without dropout so that two runs compare."""
    graph = Graph(data.edge_index, num_nodes=len(data.labels))

    def accuracy(model: torch.nn.Module) -> float:
        model.eval()
        with torch.no_grad():
            right = model(data.features, graph).argmax(1) == data.labels
        model.train()
        return float(right[data.test_mask].float().mean())

    def loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return F.cross_entropy(model(data.features, graph)[data.train_mask], data.labels[data.train_mask])

    tested = data.labels[data.test_mask]
    return Recipe(
        name="GCN",
        source=data.source,
        model=functools.partial(models.GCN, data.features.shape[1], 16, 2, data.classes, cached=True),
        optimizer=functools.partial(torch.optim.Adam, lr=0.01, weight_decay=5e-4, eps=1e-6),
        batch=lambda generator: (),
        loss=loss,
        evaluate=accuracy,
        metric="accuracy",
        resolution=1 / len(tested),
        baseline=float(tested.bincount().max()) / len(tested),
        baseline_name="most frequent class",
        steps=200,
    )
