"""The calls of `adaptive_max_pool` that are checked and timed."""

import functools
import math

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.adaptive_max_pool import adaptive_max_pool
from nnzoo_fast.pooling import samples
from nnzoo_fast.pooling.samples import sample
from nnzoo_fast.spec import Call, OpSpec, Sample


def stock(input, output_size, return_indices=False):
    n = samples.dimensions_of_call(input, output_size)
    pool = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[n - 1]
    return pool(input, output_size, return_indices)


def ties(maker):
    return Call((maker.wrap(maker.integers(-1, 2, 2, 3, 9, 21).cpu().double()), (4, 5), True))


def special(maker):
    values = torch.randn(2, 2, 7, 38, generator=maker.generator, dtype=torch.float64)
    values[0, :, :4, :11] = -math.inf
    values[0, 1, 5, 14] = math.inf
    values[1, 0, 1:3, ::9] = math.nan
    return Call((maker.wrap(values), (2, 3), True))


def bench(name, shape, size, **options):
    values = math.prod(shape)
    return samples.bench(name, shape, size, values=values + math.prod((*shape[:2], *size)), flops=values, **options)


SPEC = OpSpec(
    name="adaptive_max_pool",
    function=adaptive_max_pool,
    stock=stock,
    samples=[
        sample("2d-unequal", (2, 3, 9, 37), (4, 7), return_indices=True),
        sample("2d-global", (2, 3, 9, 37), 1),
        sample("2d-one-dimension", (1, 3, 7, 12), (None, 5)),
        sample("1d-unbatched", (3, 11), (4,), return_indices=True),
        sample("1d-more-than-there-are", (1, 2, 7), 17),
        sample("2d-channels-last", (2, 131, 7, 6), (3, 4), True, channels_last=True),
        sample("2d-batch0", (0, 3, 4, 5), 2),
        sample("3d", (1, 2, 5, 4, 38), (2, 3, 5), return_indices=True),
        sample("3d-channels-last", (1, 5, 4, 5, 6), (3, None, 1), True, channels_last=True),
        Sample("ties", ties),
        Sample("special", special),
        samples.strided((4, 4)),
    ],
    errors=samples.of_output_size(),
    bench=[
        bench("1x1-32-64-56", (32, 64, 56, 56), (1, 1), quick=True),
        bench("1x1-32-64-56-channels-last", (32, 64, 56, 56), (1, 1), channels_last=True),
        bench("7x7-32-64-56", (32, 64, 56, 56), (7, 7)),
    ],
    length=lambda call: 16,
    variants={"vectors of columns": functools.partial(adaptive_max_pool, backend="cpu")},
)
