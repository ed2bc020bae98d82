"""The calls of `max_unpool` that are checked and timed."""

import functools
import math

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.max_unpool import max_unpool
from nnzoo_fast.pooling import samples
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(input, indices, kernel_size, *rest, **options):
    n = samples.dimensions_of_call(input, kernel_size)
    unpool = samples.in_float32((F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[n - 1])
    strict = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)  # torch refuses, whatever the indices are
    try:
        return unpool(input, indices, kernel_size, *rest, **options)
    finally:
        torch.use_deterministic_algorithms(strict)


def call(maker, shape, kernel, stride=None, padding=0, channels_last=False, **options):
    """Values to put back where max-pooling an image of `shape` found the largest; windows without common elements."""
    n = len(kernel)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[n - 1]
    seed = maker.normal(*shape, grad=False).detach().float().cpu()
    values, indices = pool(seed, kernel, stride, padding, return_indices=True)
    values = samples.image(maker, values.shape, channels_last)
    return Call((values, indices.to(values.device), kernel, stride, padding), options)


def sample(name, shape, kernel, *settings, **options):
    return Sample(name, lambda maker: call(maker, shape, kernel, *settings, **options))


def error(name, message, change, exception=RuntimeError, **options):
    def make(maker):
        input, indices, *rest = call(maker, (1, 2, 6, 6), (2, 2)).args
        return Call((*change(input, indices), *rest), options)

    return ErrorSample(name, make, exception, message)


def bad_index(value):
    def change(input, indices):
        indices[0, 1, 2, 0] = value
        return input, indices

    return change


def same(input, indices):
    return input, indices


def bench(name, shape, kernel, quick=False):
    values = math.prod(shape)
    pooled = values // math.prod(kernel)
    return BenchCase(name, lambda maker: call(maker, shape, kernel), pooled, 4 * values + 12 * pooled, quick)


SPEC = OpSpec(
    name="max_unpool",
    function=max_unpool,
    stock=stock,
    samples=[
        sample("2d", (2, 3, 8, 20), (2, 2)),
        sample("2d-output-size", (2, 3, 9, 7), (2, 2), output_size=(9, 7)),
        sample("2d-output-size-of-all", (1, 2, 9, 7), (2, 3), (2, 3), 0, output_size=(1, 2, 9, 8)),
        sample("2d-padded", (1, 3, 8, 12), (2, 4), None, (1, 2)),
        sample("2d-channels-last", (2, 19, 8, 6), (2, 2), channels_last=True),
        sample("1d-unbatched", (3, 11), (3,)),
        sample("1d", (2, 3, 21), (2,), (3,), output_size=(21,)),
        sample("2d-batch0", (0, 3, 4, 6), (2, 2)),
        sample("3d", (1, 2, 4, 6, 9), (2, 2, 3)),
        sample("3d-channels-last", (1, 5, 4, 4, 6), (2, 2, 2), channels_last=True),
    ],
    errors=[
        error("index-beyond", "36.*output", bad_index(36)),
        error("index-negative", "-1.*output", bad_index(-1)),
        error("indices-int32", "indices must be int64", lambda input, indices: (input, indices.int())),
        error("indices-shape", "indices must be", lambda input, indices: (input, indices[..., :2])),
        error("input-2d", "input", lambda input, indices: (input[0, 0], indices[0, 0])),
        error("no-channels", "empty", lambda input, indices: (input[:, :0], indices[:, :0])),
        error("size-count", "output_size", same, ValueError, output_size=(6,)),
        error("size-too-large", "output_size", same, ValueError, output_size=(6, 8)),
        ErrorSample(
            "input-list", lambda maker: Call(([1.0], torch.zeros(1, 1, 1).long(), (2,))), TypeError, "input is a list"
        ),
    ],
    bench=[bench("2x2-32-64-56", (32, 64, 56, 56), (2, 2), quick=True)],
    length=lambda call: 1,
    variants={"zeros, then values, plane by plane": functools.partial(max_unpool, backend="cpu")},
)
