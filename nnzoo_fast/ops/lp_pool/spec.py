"""The calls of `lp_pool` that are checked and timed."""

import functools
import math

import torch

from nnzoo_fast.ops.lp_pool import _pool, lp_pool, operation
from nnzoo_fast.pooling import samples
from nnzoo_fast.pooling.samples import error, sample
from nnzoo_fast.pooling.windows import pooled_size
from nnzoo_fast.spec import Call, OpSpec, Sample


def stock(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    n = samples.dimensions_of_call(input, kernel_size)
    pool = functools.partial(_pool, n)
    if n == 3:
        pool = samples.in_float32(pool)
    return pool(input, norm_type, kernel_size, stride, ceil_mode)


def positive(name, shape, *settings, channels_last=False, **options):
    """For powers that negative values don't have."""

    def make(maker):
        values = samples.image(maker, shape, channels_last).detach().abs() + 0.25
        return Call((values.requires_grad_(maker.grad), *settings), options)

    return Sample(name, make)


def zeros(maker):
    values = torch.randn(1, 2, 6, 20, generator=maker.generator, dtype=torch.float64)
    values[:, :, :3, :9] = 0
    return Call((maker.wrap(values), 2, 2))


def bench(name, shape, p, kernel, stride, quick=False):
    n = len(shape) - 2
    windows = [kernel] * n, [stride] * n
    count = pooled_size(shape[2:], *windows, [0] * n, [1] * n, False)
    values = math.prod(shape) + math.prod(shape[:2]) * math.prod(count)
    flops = operation.flops(shape, p, *windows, False)
    return samples.bench(name, shape, p, kernel, stride, values=values, flops=flops, quick=quick)


SPEC = OpSpec(
    name="lp_pool",
    function=lp_pool,
    stock=stock,
    samples=[
        sample("2d-3x3-stride2", (2, 3, 9, 37), 2, 3, stride=2),
        sample("2d-ceil", (1, 3, 8, 12), 2.0, (3, 2), stride=(2, 3), ceil_mode=True),
        positive("1d-unbatched", (3, 11), 3, (4,), stride=3, ceil_mode=True),
        positive("1d-sum", (1, 2, 12), 1, 3),
        positive("2d-power-1.5", (1, 2, 6, 19), 1.5, 2),
        positive("2d-power-minus-2", (1, 2, 5, 7), -2.0, 2, stride=1),
        sample("2d-channels-last", (2, 19, 7, 6), 2, 3, channels_last=True, stride=2),
        positive("2d-channels-last-power-4", (1, 5, 5, 4), 4, 2, channels_last=True, ceil_mode=True),
        sample("2d-batch0", (0, 3, 4, 5), 2, 2),
        sample("3d", (1, 2, 5, 4, 19), 2, (2, 3, 2), stride=(1, 2, 3), ceil_mode=True),
        Sample("zeros", zeros),
        samples.strided(2, 2),
    ],
    errors=[
        *samples.of_windows(3, 2),
        error("norm-0", "norm_type", 0, 3, exception=ZeroDivisionError),
        error("larger-than-volume", "smaller", 2, 5, stride=3, ceil_mode=True, shape=(1, 2, 4, 4, 4)),
        error("norm-string", "norm_type", "2", 3, exception=TypeError),
    ],
    bench=[
        bench("norm2-2x2-32-64-56", (32, 64, 56, 56), 2, 2, 2, quick=True),
        bench("norm2-3x3-stride2-32-64-56", (32, 64, 56, 56), 2, 3, 2),
    ],
    length=lambda call: 90,
    variants={"vectors of windows": functools.partial(lp_pool, backend="cpu")},
)
