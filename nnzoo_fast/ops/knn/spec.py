"""The calls of `knn` that are checked and timed."""

import functools

import torch

from nnzoo_fast.ops.knn import knn, peers
from nnzoo_fast.ops.knn.reference import distances
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(x, y, k, batch_x=None, batch_y=None, cosine=False, num_workers=1, batch_size=None, return_distance=True):
    """All distances in float64, sorted."""
    x, y = (points[:, None] if points.dim() == 1 else points for points in (x, y))
    distance = distances(x, y, cosine)
    if batch_x is not None or batch_y is not None:
        of_x = torch.zeros(len(x), dtype=torch.int64, device=x.device) if batch_x is None else batch_x
        of_y = torch.zeros(len(y), dtype=torch.int64, device=x.device) if batch_y is None else batch_y
        distance = distance.masked_fill(of_y[:, None] != of_x, torch.inf)
    distance, index = (part[:, :k] for part in distance.sort(dim=1, stable=True))
    there = distance < torch.inf
    query = torch.arange(len(y), device=x.device)[:, None].expand_as(index)
    return torch.stack([query[there], index[there]]), distance[there].to(x.dtype)


def random(points, queries, dim, k, cosine=False, shift=0.0, scale=1.0):
    def make(maker):
        x = maker.normal(points, *dim, grad=False, shift=shift, scale=scale)
        return Call((x, maker.normal(queries, *dim, grad=False, shift=shift, scale=scale), k), {"cosine": cosine})

    special = (
        ("-cosine" if cosine else "")
        + (f"-shift{shift:g}" if shift else "")
        + (f"-scale{scale:g}" if scale != 1 else "")
    )
    return Sample(f"{points}to{queries}-D{'x'.join(map(str, dim)) or '1d'}-k{k}{special}", make)


def batched(maker):
    """Groups of many sizes, empty ones on either side among them, and one with fewer points than k."""
    batch_x = torch.repeat_interleave(torch.arange(6), torch.tensor([30, 3, 0, 9, 50, 1])).to(maker.device)
    batch_y = torch.repeat_interleave(torch.arange(6), torch.tensor([7, 20, 4, 0, 17, 2])).to(maker.device)
    x, y = maker.normal(93, 5, grad=False), maker.normal(50, 5, grad=False)
    return Call((x, y, 4, batch_x, batch_y), {"batch_size": 8})


def lattice(maker):
    """Most points are as far as others, and some lie in one place."""
    x = maker.wrap(maker.integers(-2, 3, 120, 3).cpu().double(), grad=False)
    return Call((x, maker.wrap(maker.integers(-2, 3, 40, 3).cpu().double(), grad=False), 9))


def one_place(maker):
    x = maker.wrap(torch.full((300, 7), 0.25, dtype=torch.float64), grad=False)
    return Call((x, x[:20], 3))


def zeros(maker):
    """A zero vector is as far from all."""
    x, y = maker.normal(30, 4, grad=False), maker.normal(10, 4, grad=False)
    x[3], y[2] = 0, 0
    return Call((x, y, 30), {"cosine": True})


def strided(maker):
    return Call((maker.normal(40, 12, grad=False)[::2, ::3], maker.normal(4, 9, grad=False).t(), 5))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"x": maker.normal(6, 2, grad=False), "y": maker.normal(4, 2, grad=False), "k": 3}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(count, dim, k, quick=False, cosine=False):
    def make(maker):
        x = maker.normal(count, dim, grad=False)
        return Call((x, x, k), {"cosine": cosine})

    case = f"{count}-D{dim}-k{k}{'-cosine' if cosine else ''}"
    return BenchCase(case, make, 2 * count**2 * dim, 4 * count * (dim + 3 * k), quick, backward=False)


INFINITE = torch.tensor([[0.0, 1.0], [2.0, torch.inf], [torch.nan, 0.0]])

SPEC = OpSpec(
    name="knn",
    function=functools.partial(knn, return_distance=True),
    stock=stock,
    samples=[
        random(1, 1, (1,), 1),
        random(7, 5, (3,), 3),
        random(40, 3, (), 4),
        random(50, 33, (17,), 60),
        random(700, 130, (5,), 2),
        random(700, 130, (64,), 16),
        random(300, 20, (600,), 5),
        random(200, 31, (12,), 7, cosine=True),
        random(200, 31, (3,), 7, shift=100.0),
        random(60, 9, (6,), 4, scale=1e-18),
        random(60, 9, (6,), 4, scale=1e18),
        random(0, 4, (3,), 2),
        random(5, 0, (3,), 2),
        random(6, 4, (0,), 3),
        Sample("batched", batched),
        Sample("lattice", lattice),
        Sample("one-place", one_place),
        Sample("zeros-cosine", zeros),
        Sample("strided", strided),
    ],
    errors=[
        wrong("x-list", TypeError, "x is a list", x=[1.0]),
        wrong("k-zero", ValueError, "k is 0", k=0),
        wrong("x-3d", RuntimeError, "x is", x=torch.zeros(6, 2, 1)),
        wrong("x-integers", RuntimeError, "x is", x=torch.zeros(6, 2, dtype=torch.int64)),
        wrong("y-features", RuntimeError, "y is", y=torch.zeros(4, 3)),
        wrong("y-dtype", RuntimeError, "y is", y=torch.zeros(4, 2).double()),
        wrong("x-infinite", ValueError, r"x\[1\]", x=INFINITE),
        wrong("y-nan", ValueError, r"y\[2\]", y=torch.where(INFINITE.isinf(), 0, INFINITE)),
        wrong("y-nan-stock", ValueError, r"y\[2\]", y=torch.where(INFINITE.isinf(), 0, INFINITE), backend="torch"),
        wrong("batch-length", ValueError, "batch_x", batch_x=torch.zeros(5, dtype=torch.int64)),
        wrong("batch-decreases", ValueError, "batch_y", batch_y=torch.tensor([0, 1, 0, 1])),
        wrong("batch-negative", ValueError, "batch_y", batch_y=torch.tensor([-1, 0, 0, 1])),
        wrong("batch_size-small", ValueError, "batch_size", batch_y=torch.tensor([0, 0, 0, 2]), batch_size=2),
    ],
    bench=[bench(10_000, 64, 16, quick=True), bench(10_000, 3, 16), bench(2000, 64, 16, cosine=True)],
    length=lambda call: max(call.args[0].shape[-1], 1) if call.args and call.args[0].dim() else 1,
    peers={"scikit-learn": peers.scikit_learn, "cdist and topk": peers.cdist_and_topk},
)
