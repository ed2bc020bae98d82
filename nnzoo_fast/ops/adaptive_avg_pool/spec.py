"""The calls of `adaptive_avg_pool` that are checked and timed."""

import functools
import math

import torch.nn.functional as F

from nnzoo_fast.ops.adaptive_avg_pool import adaptive_avg_pool
from nnzoo_fast.pooling import samples
from nnzoo_fast.pooling.samples import sample
from nnzoo_fast.spec import OpSpec


def stock(input, output_size):
    n = samples.dimensions_of_call(input, output_size)
    return (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[n - 1](input, output_size)


def bench(name, shape, size, **options):
    values = math.prod(shape)
    return samples.bench(name, shape, size, values=values + math.prod((*shape[:2], *size)), flops=values, **options)


SPEC = OpSpec(
    name="adaptive_avg_pool",
    function=adaptive_avg_pool,
    stock=stock,
    samples=[
        sample("2d-unequal", (2, 3, 9, 37), (4, 7)),
        sample("2d-global", (2, 3, 9, 37), 1),
        sample("2d-global-channels-last", (2, 131, 5, 7), 1, channels_last=True),
        sample("2d-one-dimension", (1, 3, 7, 12), (None, 5)),
        sample("1d-unbatched", (3, 11), (4,)),
        sample("1d-more-than-there-are", (1, 2, 7), 17),
        sample("2d-channels-last", (2, 19, 7, 6), (3, 8), channels_last=True),
        sample("2d-of-one-element", (2, 3, 1, 1), (2, 3)),
        sample("2d-batch0", (0, 3, 4, 5), 2),
        sample("3d", (1, 2, 5, 4, 38), (2, 3, 5)),
        sample("3d-channels-last", (1, 5, 4, 5, 6), (3, None, 1), channels_last=True),
        samples.strided((4, 4)),
    ],
    errors=samples.of_output_size(),
    bench=[
        bench("1x1-32-64-56", (32, 64, 56, 56), (1, 1), quick=True),
        bench("1x1-32-64-56-channels-last", (32, 64, 56, 56), (1, 1), channels_last=True),
        bench("7x7-32-64-56", (32, 64, 56, 56), (7, 7)),
        bench("1x1-1-512-7", (1, 512, 7, 7), (1, 1)),
    ],
    length=lambda call: 400,
    variants={"vectors of columns": functools.partial(adaptive_avg_pool, backend="cpu")},
)
