"""The calls of `softmax` and `log_softmax` that are checked and timed."""

import functools
import math
from collections.abc import Callable

import torch

from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def shaped(shape, dim, scale=1.0):
    return Sample(f"{'x'.join(map(str, shape))}-dim{dim}", lambda m: Call((m.normal(*shape, scale=scale), dim)))


def with_infinities(maker):
    """Masked values, and in the last row nothing but them."""
    values = torch.randn(5, 39, generator=maker.generator, dtype=torch.float64)
    values[:, ::3] = -math.inf
    return Call((maker.wrap(values), -1))


def large(maker):
    return Call((maker.normal(6, 53, scale=1e4), 1))


def shifted(maker):
    return Call((maker.normal(6, 53, shift=1e4), 1))


def strided(maker):
    return Call((maker.normal(12, 40).detach()[::2, ::2].requires_grad_(maker.grad), 1))


def bench(shape, dim, quick=False):
    values = math.prod(shape)
    return BenchCase("x".join(map(str, shape)) + f"-dim{dim}", shaped(shape, dim).make, 5 * values, 8 * values, quick)


def make_spec(name: str, function: Callable, stock: Callable) -> OpSpec:
    return OpSpec(
        name=name,
        function=function,
        stock=stock,
        samples=[
            shaped((3, 7), 1),
            shaped((5, 131), -1),
            shaped((2, 5, 37), 1),
            shaped((3, 4, 2), 0),
            shaped((1, 4500), 1),
            shaped((9,), 0),
            shaped((4, 1), 1),
            shaped((0, 4), 1),
            Sample("infinities", with_infinities),
            Sample("large", large),
            Sample("shifted", shifted),
            Sample("strided", strided),
        ],
        errors=[
            ErrorSample("dim-2", lambda m: Call((m.normal(3, 4), 2)), IndexError, "dim is 2"),
            ErrorSample("dim-float", lambda m: Call((m.normal(3, 4), 1.0)), TypeError, "dim"),
            ErrorSample("dim-bool", lambda m: Call((m.normal(3, 4), True)), TypeError, "dim"),
            ErrorSample("input-list", lambda m: Call(([1.0], 0)), TypeError, "input is a list"),
        ],
        bench=[
            bench((4096, 768), 1, quick=True),
            bench((8, 21, 128, 128), 1),
            bench((32, 12, 128, 128), 3),
            bench((64, 10), 1),
        ],
        length=lambda call: 4500,
        variants={"rows in cache": functools.partial(function, backend="cpu")},
    )


def swept() -> list[Sample]:
    """The calls that `nnzoo-fast tune` measures: long rows, short ones, columns."""
    rows = [(8, 512), (16, 1024), (64, 1024), (512, 256), (256, 1024), (1024, 1024), (64, 32000), (4096, 768)]
    short = [(64, 10), (256, 64), (1024, 64), (2048, 128), (4096, 200), (49152, 64), (49152, 128)]
    columns = [(2, 16, 16, 16), (2, 32, 28, 28), (8, 21, 32, 32), (8, 21, 64, 64), (16, 64, 56, 56), (8, 21, 128, 128)]
    return [shaped(shape, 1) for shape in rows + short + columns]
