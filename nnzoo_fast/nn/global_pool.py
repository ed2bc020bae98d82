"""Pooling of the nodes of each graph of a batch: `torch_geometric.nn.global_add_pool`, `_mean_` and `_max_`."""

from __future__ import annotations

import torch

from nnzoo_fast import ops
from nnzoo_fast.graph import Graph


def global_add_pool(x: torch.Tensor, batch: torch.Tensor | None, size: int | None = None) -> torch.Tensor:
    """The sum of each graph's nodes.

    Args:
        x: [N] or [*, N, features].
        batch: int64 [N], the graph of each node, as `Graph.batch` gives it; None if there is one graph.
        size: the number of graphs; by default the largest of `batch` plus 1, or 1 without a `batch`.

    Returns:
        [size] or [*, size, features]; for one graph without a `batch`, [*, features] if there are dimensions before N.

    Raises:
        as `ops.scatter`.
    """
    return _pool(x, batch, size, "sum")


def global_mean_pool(x: torch.Tensor, batch: torch.Tensor | None, size: int | None = None) -> torch.Tensor:
    """The mean of each graph's nodes, 0 where there are none; arguments as for `global_add_pool`."""
    return _pool(x, batch, size, "mean")


def global_max_pool(x: torch.Tensor, batch: torch.Tensor | None, size: int | None = None) -> torch.Tensor:
    """The maximum of each graph's nodes, 0 where there are none; arguments as for `global_add_pool`."""
    return _pool(x, batch, size, "max")


def _pool(x: torch.Tensor, batch: torch.Tensor | None, size: int | None, reduce: str) -> torch.Tensor:
    dim = -1 if x.dim() == 1 else -2
    if batch is not None:
        return ops.scatter(x, batch, dim, size, reduce)
    keeps = x.dim() <= 2
    if size not in (None, 1) or x.shape[dim] == 0:
        size = 1 if size is None else size
        pooled = ops.scatter(x, torch.zeros(x.shape[dim], dtype=torch.int64, device=x.device), dim, size, reduce)
        return pooled if keeps or size != 1 else pooled.squeeze(dim)
    if reduce == "max":
        return x.max(dim, keepdim=keeps)[0]
    return x.sum(dim, keepdim=keeps) if reduce == "sum" else x.mean(dim, keepdim=keeps)


def members(batch: torch.Tensor, size: int | None = None) -> Graph:
    """The graph with an edge from each node to its graph, in the order of nodes: what sums over graphs walk along."""
    size = size if size is not None else int(batch.max()) + 1 if batch.numel() else 0
    nodes = torch.arange(batch.shape[0], device=batch.device)
    return Graph(torch.stack([nodes, batch]), (batch.shape[0], size))
