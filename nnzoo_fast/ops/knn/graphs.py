"""`knn_graph`, `radius` and `radius_graph`: PyTorch Geometric's, on the operation `knn`."""

from __future__ import annotations

import math

import torch

from nnzoo_fast.front_door import check_tensors
from nnzoo_fast.ops.knn import as_edges, search

_FIRST_TRY = 64


def knn_graph(
    x: torch.Tensor,
    k: int,
    batch: torch.Tensor | None = None,
    loop: bool = False,
    flow: str = "source_to_target",
    cosine: bool = False,
    num_workers: int = 1,
    batch_size: int | None = None,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """Edges from the k nearest points to each point. `torch_geometric.nn.knn_graph`.

    Args:
        x: [N, D] or [N], floating-point and finite.
        k: neighbours of a point; where its group has fewer, all of them.
        batch: integer [N] without decreasing, the group of each point; None: one group.
        loop: a point is among its own neighbours. Else it never is, also where others lie in the same place.
        flow: "source_to_target": neighbours in row 0, or "target_to_source".
        cosine, num_workers, batch_size, backend: as in `knn`.

    Returns:
        int64 [2, edges], by point, nearest first and equally near ones by index: what `Graph` takes.

    Raises:
        as `knn`; ValueError also for an unknown `flow`.
    """
    _check("knn_graph", x, flow)
    options = dict(cosine=cosine, skip_same=not loop, batch_size=batch_size, backend=backend)
    index, _ = as_edges(*search("knn_graph", x, x, k, batch, batch, **options))
    return _directed(index, flow)


def radius(
    x: torch.Tensor,
    y: torch.Tensor,
    r: float,
    batch_x: torch.Tensor | None = None,
    batch_y: torch.Tensor | None = None,
    max_num_neighbors: int | None = 32,
    num_workers: int = 1,
    batch_size: int | None = None,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """For each point of `y` the points of `x` at a distance of at most r. `torch_geometric.nn.radius`.

    Args:
        x, y, batch_x, batch_y, num_workers, batch_size, backend: as in `knn`.
        r: not negative; with 0, points in the same place are found.
        max_num_neighbors: of more than so many, the nearest are returned (PyTorch Geometric's choice depends on the
            order); None: all.

    Returns:
        int64 [2, found], as `knn` does.

    Raises:
        as `knn`; ValueError also for an `r` that is negative or NaN.
    """
    check_tensors("radius", x=x, y=y)
    return _radius("radius", x, y, r, batch_x, batch_y, max_num_neighbors, False, batch_size, backend)


def radius_graph(
    x: torch.Tensor,
    r: float,
    batch: torch.Tensor | None = None,
    loop: bool = False,
    max_num_neighbors: int | None = 32,
    flow: str = "source_to_target",
    num_workers: int = 1,
    batch_size: int | None = None,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """Edges to each point from those at a distance of at most r. `torch_geometric.nn.radius_graph`.

    Arguments as in `knn_graph` and `radius`; without `loop`, `max_num_neighbors` counts others only.

    Raises:
        as `radius`; ValueError also for an unknown `flow`.
    """
    _check("radius_graph", x, flow)
    index = _radius("radius_graph", x, x, r, batch, batch, max_num_neighbors, not loop, batch_size, backend)
    return _directed(index, flow)


def _radius(name, x, y, r, batch_x, batch_y, most, skip_same, batch_size, backend) -> torch.Tensor:
    if not r >= 0:
        raise ValueError(f"{name}: r is {r}, expected a number that is not negative")
    if most is not None and most < 1:
        raise ValueError(f"{name}: max_num_neighbors is {most}, expected at least 1")
    points = max(x.shape[0], 1)
    most = points if most is None else min(most, points)
    k = min(most, _FIRST_TRY)
    options = dict(radius=math.inf if r == math.inf else float(r), skip_same=skip_same)
    while True:
        found = search(name, x, y, k, batch_x, batch_y, **options, batch_size=batch_size, backend=backend)
        # A row that is full may have left out others.
        if k == most or not bool((found[0][:, -1] >= 0).any()):
            return as_edges(*found)[0]
        k = min(most, 4 * k)


def _check(name: str, x: torch.Tensor, flow: str) -> None:
    check_tensors(name, x=x)
    if flow not in ("source_to_target", "target_to_source"):
        raise ValueError(f"{name}: flow is {flow!r}, expected 'source_to_target' or 'target_to_source'")


def _directed(index: torch.Tensor, flow: str) -> torch.Tensor:
    return index.flip(0) if flow == "source_to_target" else index
