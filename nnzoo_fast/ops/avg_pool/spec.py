"""The calls of `avg_pool` that are checked and timed."""

import functools
import math

from nnzoo_fast.ops.avg_pool import _pool, avg_pool, operation
from nnzoo_fast.pooling import samples
from nnzoo_fast.pooling.samples import error, sample
from nnzoo_fast.pooling.windows import pooled_size
from nnzoo_fast.spec import OpSpec


def stock(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    n = samples.dimensions_of_call(input, kernel_size)
    pool = functools.partial(_pool, n)
    if n == 3:
        pool = samples.in_float32(pool)
    return pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def bench(name, shape, kernel, stride, padding, quick=False):
    n = len(shape) - 2
    settings = [kernel] * n, [stride] * n, [padding] * n
    count = pooled_size(shape[2:], *settings, [1] * n, False)
    values = math.prod(shape) + math.prod(shape[:2]) * math.prod(count)
    flops = operation.flops(shape, *settings, False, True, 0)
    return samples.bench(name, shape, kernel, stride, padding, values=values, flops=flops, quick=quick)


SPEC = OpSpec(
    name="avg_pool",
    function=avg_pool,
    stock=stock,
    samples=[
        sample("2d-3x3-stride2", (2, 3, 9, 37), 3, stride=2, padding=1),
        sample("2d-without-padding", (2, 3, 9, 11), 3, stride=2, padding=1, count_include_pad=False),
        sample("1d-unbatched", (3, 11), (4,), stride=3, padding=2, ceil_mode=True),
        sample(
            "1d-ceil-without-padding", (1, 2, 12), (5,), stride=4, padding=2, ceil_mode=True, count_include_pad=False
        ),
        sample("2d-mixed", (1, 3, 7, 12), (2, 4), stride=(3, 1), padding=(1, 2), ceil_mode=True),
        sample("2d-divisor", (1, 3, 7, 8), (2, 3), padding=1, divisor_override=-5),
        sample("2d-channels-last", (2, 19, 7, 6), 3, channels_last=True, stride=2, padding=1),
        sample("2d-all-of-it", (2, 2, 5, 18), (5, 18)),
        sample("2d-batch0", (0, 3, 4, 5), 2),
        sample("3d", (1, 2, 5, 4, 19), (2, 3, 2), stride=(1, 2, 3), padding=(1, 1, 0), ceil_mode=True),
        sample(
            "3d-channels-last", (1, 5, 4, 5, 6), 2, channels_last=True, stride=1, count_include_pad=False, padding=1
        ),
        samples.strided(2),
    ],
    errors=[
        *samples.of_windows(),
        error("padding-negative", "padding", 3, padding=-1),
        error("padding-beyond-half", "half", 3, padding=2),
        error("larger-than-volume", "smaller", 5, stride=3, ceil_mode=True, shape=(1, 2, 4, 4, 4)),
        error("divisor-0", "divisor_override", 3, divisor_override=0),
    ],
    bench=[
        bench("2x2-32-64-56", (32, 64, 56, 56), 2, 2, 0, quick=True),
        bench("3x3-stride2-32-64-56", (32, 64, 56, 56), 3, 2, 1),
        bench("2x2-1-6-28", (1, 6, 28, 28), 2, 2, 0),
    ],
    length=lambda call: 90,
    variants={"vectors of windows": functools.partial(avg_pool, backend="cpu")},
)
