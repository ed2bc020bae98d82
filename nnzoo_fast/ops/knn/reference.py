"""What `knn` means."""

import torch

from nnzoo_fast.ops.gather_scatter.reference import group_of_each


def distances(x: torch.Tensor, y: torch.Tensor, cosine: bool) -> torch.Tensor:
    """[M, N] in float64: how far each row of `x` [N, D] is from each row of `y` [M, D]."""
    x, y = x.double(), y.double()
    if not cosine:
        return torch.cdist(y, x, compute_mode="donot_use_mm_for_euclid_dist")
    lengths = y.norm(dim=1)[:, None] * x.norm(dim=1)
    return torch.where(lengths > 0, 1 - y @ x.t() / torch.where(lengths > 0, lengths, 1), 1)


def check_finite(x, y):
    for name, points in (("x", x), ("y", y)):
        infinite = ~points.isfinite().all(dim=1)
        if infinite.any():
            raise infinite_row(name, int(infinite.nonzero()[0]))


def infinite_row(name: str, row: int) -> ValueError:
    return ValueError(f"knn: {name}[{row}] has a coordinate that is not finite")


def nearest(x, y, group_x, group_y, places, k, radius, cosine, skip_same):
    """`reference` for the rows `places` of `y`."""
    distance = distances(x, y[places], cosine)
    hidden = (group_y[places][:, None] != group_x) | (distance > radius)
    if skip_same:
        hidden = hidden | (places[:, None] == torch.arange(x.shape[0], device=x.device))
    distance, order = distance.masked_fill(hidden, torch.inf).sort(dim=1, stable=True)
    distance, order = distance[:, :k], order[:, :k]
    return torch.where(distance < torch.inf, order, -1), distance.to(x.dtype)


def groups_of(start_x, start_y, x, y):
    return group_of_each(start_x, x.shape[0]), group_of_each(start_y, y.shape[0])


def reference(x, y, start_x, start_y, k, radius, cosine, skip_same):
    """Of the rows of x in y[i]'s group that are no further away than `radius`, the k nearest: index and distance."""
    check_finite(x, y)
    places = torch.arange(y.shape[0], device=y.device)
    return nearest(x, y, *groups_of(start_x, start_y, x, y), places, k, radius, cosine, skip_same)
