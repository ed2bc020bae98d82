"""`knn`: nearest neighbours, exact, of any dimension, in batches."""

from __future__ import annotations

import torch

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.knn import cpu
from nnzoo_fast.ops.knn.reference import check_finite, groups_of, nearest, reference

__all__ = ["knn", "operation", "reference"]

_VALUES_AT_ONCE = 1 << 24


def knn(
    x: torch.Tensor,
    y: torch.Tensor,
    k: int,
    batch_x: torch.Tensor | None = None,
    batch_y: torch.Tensor | None = None,
    cosine: bool = False,
    num_workers: int = 1,
    batch_size: int | None = None,
    *,
    return_distance: bool = False,
    backend: str | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """For each point of `y` the k nearest of `x`. `torch_geometric.nn.knn`.

    Args:
        x: [N, D] or [N], floating-point and finite.
        y: [M, D] or [M].
        k: how many neighbours; where there are fewer, all of them.
        batch_x, batch_y: integer [N] and [M] without decreasing, the group of each point: neighbours are of one group.
            None: group 0.
        cosine: the distance is 1 - <x, y> / (|x| |y|), and 1 where a vector is zero; else the Euclidean one.
        num_workers: plays no part; torch's number of threads counts.
        batch_size: the number of groups; by default as many as there are.
        return_distance: return the distances too.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        int64 [2, found]: points of `y` in row 0, in their order, and their neighbours in row 1, nearest first and
        equally near ones by index. Distances are compared in float64. With `return_distance` also [found], in x's dtype
        and without gradient.

    Raises:
        TypeError: `x` or `y` is no tensor, or `k` no int.
        ValueError: `k` below 1, a batch that decreases or doesn't fit, a coordinate that is not finite.
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    check_tensors("knn", x=x, y=y)
    found = search("knn", x, y, k, batch_x, batch_y, cosine=cosine, batch_size=batch_size, backend=backend)
    index, distance = as_edges(*found)
    return (index, distance) if return_distance else index


def search(name, x, y, k, batch_x, batch_y, *, radius=torch.inf, cosine=False, skip_same=False, batch_size, backend):
    """The operation's outputs for the arguments of a public function `name`."""
    x, y = (points.detach()[:, None] if points.dim() == 1 else points.detach() for points in (x, y))
    if not isinstance(k, int):
        raise TypeError(f"{name}: k is {k!r}, expected an int")
    if k < 1:
        raise ValueError(f"{name}: k is {k}, expected at least 1")
    starts = starts_of(name, (x, y), (batch_x, batch_y), batch_size)
    return operation(x, y, *starts, min(k, max(x.shape[0], 1)), radius, cosine, skip_same, backend=backend)


def as_edges(index: torch.Tensor, distance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[2, found] and [found] of what `operation` returns."""
    query = torch.arange(index.shape[0], device=index.device)[:, None].expand_as(index)
    there = index >= 0
    if there.all():
        return torch.stack([query.reshape(-1), index.reshape(-1)]), distance.reshape(-1)
    return torch.stack([query[there], index[there]]), distance[there]


def starts_of(name: str, points: tuple, batches: tuple, batch_size: int | None) -> list[torch.Tensor]:
    """For x and y, int64 [groups + 1]: where each group begins."""
    for argument, rows, batch in zip(("batch_x", "batch_y"), points, batches, strict=True):
        if batch is None:
            continue
        if not isinstance(batch, torch.Tensor) or batch.is_floating_point() or batch.shape != rows.shape[:1]:
            found = f"{batch.dtype} {list(batch.shape)}" if isinstance(batch, torch.Tensor) else type(batch).__name__
            raise ValueError(f"{name}: {argument} is {found}, expected integers [{rows.shape[0]}]")
        if batch.numel() and (int(batch[0]) < 0 or bool((batch.diff() < 0).any())):
            raise ValueError(f"{name}: {argument} must not decrease, from 0 on")
    most = max([int(batch[-1]) + 1 for batch in batches if batch is not None and batch.numel()], default=1)
    if batch_size is not None and batch_size < most:
        raise ValueError(f"{name}: batch_size is {batch_size}, expected at least {most}, the groups that there are")
    groups = most if batch_size is None else batch_size
    starts = []
    for rows, batch in zip(points, batches, strict=True):
        edges = torch.arange(groups + 1, device=rows.device)
        if batch is None:
            starts.append((edges > 0) * rows.shape[0])
        else:
            starts.append(torch.searchsorted(batch.to(torch.int64).contiguous(), edges))
    return starts


def stock(x, y, start_x, start_y, k, radius, cosine, skip_same):
    """`reference`, some rows of y at a time, so that no whole matrix of distances is stored."""
    check_finite(x, y)
    groups = groups_of(start_x, start_y, x, y)
    places = torch.arange(y.shape[0], device=y.device).split(max(1, _VALUES_AT_ONCE // max(x.shape[0], 1)))
    found = [nearest(x, y, *groups, some, k, radius, cosine, skip_same) for some in places]
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def check(x, y, start_x, start_y, k, radius, cosine, skip_same):
    if x.dim() != 2 or not x.is_floating_point():
        raise RuntimeError(f"knn: x is {x.dtype} {list(x.shape)}, expected floating-point [N, D]")
    if y.dim() != 2 or y.shape[1] != x.shape[1]:
        raise RuntimeError(f"knn: y is {list(y.shape)}, expected [M, {x.shape[1]}]")
    if y.dtype != x.dtype or y.device != x.device:
        raise RuntimeError(f"knn: y is {y.dtype} on {y.device}, expected x's {x.dtype} on {x.device}")
    if start_x.device != x.device or start_y.device != x.device:
        raise RuntimeError(f"knn: batch is on {start_x.device}, expected x's {x.device}")
    if start_x.shape != start_y.shape or start_x.dtype != torch.int64 or start_y.dtype != torch.int64:
        raise RuntimeError(
            f"knn: start_y is {list(start_y.shape)}, expected int64 {list(start_x.shape)}, as start_x is"
        )
    if x.shape[0] >= 2**31:
        raise RuntimeError(f"knn: x has {x.shape[0]} points, expected less than 2^31")


def allocate(x, y, start_x, start_y, k, radius, cosine, skip_same, training):
    shape = (y.shape[0], k)
    return x.new_empty(shape, dtype=torch.int64), x.new_empty(shape)


def flops(x, y, start_x, start_y, k, *rest):
    return 2 * x[0] * y[0] * x[1]


operation = Operation(
    "knn",
    "Tensor x, Tensor y, Tensor start_x, Tensor start_y, SymInt k, float radius, bool cosine, bool skip_same",
    ("index", "distance"),
    visible=2,
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    flops=flops,
)
