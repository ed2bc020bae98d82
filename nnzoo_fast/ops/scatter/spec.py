"""The calls of `scatter` that are checked and timed."""

import torch

from nnzoo_fast.ops.gather_scatter.reference import PLAIN_REDUCES, REDUCES
from nnzoo_fast.ops.scatter import scatter
from nnzoo_fast.ops.scatter.reference import reference
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(src, index, dim=0, dim_size=None, reduce="sum"):
    if dim_size is None:
        dim_size = int(index.max()) + 1
    return reference(src.movedim(dim, 0), index, dim_size, reduce).movedim(0, dim)


def shaped(shape, dim_size, dim=0, reduce="sum"):
    def make(maker):
        index = maker.integers(0, max(dim_size, 1), shape[dim])
        return Call((maker.normal(*shape), index, dim, dim_size, reduce))

    return Sample(f"{'x'.join(map(str, shape))}-dim{dim}-to{dim_size}-{reduce}", make)


def ties(maker):
    return Call((maker.wrap(maker.integers(-1, 2, 50, 21).cpu().double()), maker.integers(0, 7, 50), -2, 8, "max"))


def size_from_index(maker):
    return Call((maker.normal(9, 4), maker.integers(0, 5, 9)))


def strided(maker):
    src = maker.normal(40, 22).detach()[::2, ::2].requires_grad_(maker.grad)
    return Call((src, maker.integers(0, 6, 40)[::2], 0, 6, "mean"))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"src": maker.normal(6, 3), "index": maker.integers(0, 4, 6), "dim": 0, "dim_size": 4, "reduce": "sum"}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(count, features, dim_size, reduce, quick=False):
    values = (count + dim_size) * features + 2 * count
    sample = shaped((count, features), dim_size, 0, reduce)
    return BenchCase(sample.id, sample.make, count * features, 4 * values, quick)


SPEC = OpSpec(
    name="scatter",
    function=scatter,
    stock=stock,
    samples=[
        *(shaped((13, 5), 4, 0, reduce) for reduce in REDUCES),
        *(shaped((3, 60, 37), 11, -2, reduce) for reduce in PLAIN_REDUCES),
        shaped((7,), 3),
        shaped((4, 9), 5, 1, "min"),
        shaped((0, 3), 4, 0, "max"),
        shaped((5, 0), 4),
        Sample("ties", ties),
        Sample("size-from-index", size_from_index),
        Sample("strided", strided),
    ],
    errors=[
        wrong("reduce-unknown", ValueError, "reduce", reduce="median"),
        wrong("index-list", TypeError, "index is a list", index=[0, 1, 2, 0, 1, 2]),
        wrong("dim-2", ValueError, "dim is", dim=2),
        wrong("index-2d", ValueError, "index", index=torch.zeros(6, 3, dtype=torch.int64)),
        wrong("index-length", RuntimeError, "index", index=torch.zeros(5, dtype=torch.int64)),
        wrong("index-float", RuntimeError, "index", index=torch.zeros(6, dtype=torch.float32)),
        wrong(
            "index-too-large", RuntimeError, r"index\[2\] is 4", index=torch.tensor([0, 1, 4, 0, 1, 2]), backend="cpu"
        ),
        wrong(
            "index-negative", RuntimeError, r"index\[1\] is -1", index=torch.tensor([0, -1, 3, 0, 1, 2]), backend="cpu"
        ),
        wrong("dim_size-negative", RuntimeError, "dim_size", dim_size=-1),
    ],
    bench=[
        bench(1_000_000, 64, 100_000, "sum", quick=True),
        bench(1_000_000, 64, 100_000, "max"),
        bench(10_556, 16, 2708, "mean", quick=True),
    ],
    length=lambda call: max(call.args[1].numel(), 1) if call.args else 1,
)
