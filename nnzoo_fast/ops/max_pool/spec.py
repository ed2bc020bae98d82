"""The calls of `max_pool` that are checked and timed."""

import functools
import math

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.max_pool import max_pool, operation
from nnzoo_fast.pooling import samples
from nnzoo_fast.pooling.samples import error, sample
from nnzoo_fast.pooling.windows import pooled_size
from nnzoo_fast.spec import Call, OpSpec, Sample


def stock(input, kernel_size, *rest, minimum=False, **options):
    n = samples.dimensions_of_call(input, kernel_size)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[n - 1]
    result = pool(-input if minimum else input, kernel_size, *rest, **options)
    if not minimum:
        return result
    return (-result[0], result[1]) if options.get("return_indices") else -result


def ties(maker):
    return Call((maker.wrap(maker.integers(-1, 2, 2, 3, 9, 21).cpu().double()), 3, 2, 1))


def infinite(maker):
    values = torch.randn(2, 2, 7, 19, generator=maker.generator, dtype=torch.float64)
    values[:, :, :4, :11] = -math.inf
    values[1, 1, 5, 14] = math.inf
    return Call((maker.wrap(values), 3, 2, 1), {"return_indices": True})


def nan(maker):
    values = torch.randn(1, 2, 7, 38, generator=maker.generator, dtype=torch.float64)
    values[0, 0, 1, ::9] = math.nan
    return Call((maker.wrap(values), 3, 2, 1))


def bench(name, shape, kernel, stride, padding, channels_last=False, quick=False):
    n = len(shape) - 2
    windows = [kernel] * n, [stride] * n, [padding] * n, [1] * n, False
    values = math.prod(shape) + math.prod(shape[:2]) * math.prod(pooled_size(shape[2:], *windows))
    work = {"values": values, "flops": operation.flops(shape, *windows, False), "quick": quick}
    return samples.bench(name, shape, kernel, stride, padding, channels_last=channels_last, **work)


SPEC = OpSpec(
    name="max_pool",
    function=max_pool,
    stock=stock,
    samples=[
        sample("2d-3x3-stride2", (2, 3, 9, 37), 3, stride=2, padding=1),
        sample("1d", (2, 3, 21), (2,), return_indices=True),
        sample("1d-unbatched", (3, 11), (4,), stride=3, padding=2, ceil_mode=True),
        sample("2d-mixed", (1, 3, 7, 12), (2, 4), stride=(3, 1), padding=(1, 2), dilation=(2, 1), ceil_mode=True),
        sample("2d-channels-last", (2, 19, 7, 6), 3, channels_last=True, stride=2, padding=1, return_indices=True),
        sample("2d-minimum", (2, 3, 8, 20), 2, minimum=True),
        sample("2d-all-of-it", (2, 2, 17, 18), (17, 18)),
        sample("2d-batch0", (0, 3, 4, 5), 2),
        sample("3d", (1, 2, 5, 4, 19), (2, 3, 2), stride=(1, 2, 3), padding=(1, 1, 0), return_indices=True),
        sample("3d-channels-last", (1, 5, 4, 5, 6), 2, channels_last=True, stride=1, dilation=2),
        Sample("ties", ties),
        Sample("infinite", infinite),
        Sample("nan", nan),
        samples.strided(2),
    ],
    errors=[
        *samples.of_windows(),
        error("padding-negative", "padding", 3, padding=-1),
        error("padding-beyond-half", "half", 3, padding=2),
        error("dilation-0", "dilation", 3, dilation=0),
    ],
    bench=[
        bench("3x3-stride2-32-64-56", (32, 64, 56, 56), 3, 2, 1, quick=True),
        bench("2x2-32-64-56", (32, 64, 56, 56), 2, 2, 0),
        bench("3x3-stride2-32-64-56-channels-last", (32, 64, 56, 56), 3, 2, 1, True),
        bench("2x2-16-6-28", (16, 6, 28, 28), 2, 2, 0),
    ],
    length=lambda call: 16,
    variants={"vectors of windows": functools.partial(max_pool, backend="cpu")},
)
