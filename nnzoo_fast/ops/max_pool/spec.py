"""The calls of `max_pool` that are checked and timed."""

import functools
import math

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.max_pool import max_pool, operation
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample
from nnzoo_fast.windows import pooled_size


def stock(input, kernel_size, *rest, minimum=False, **options):
    n = input.dim() - 2 if isinstance(kernel_size, int) else len(kernel_size)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[n - 1]
    result = pool(-input if minimum else input, kernel_size, *rest, **options)
    if not minimum:
        return result
    return (-result[0], result[1]) if options.get("return_indices") else -result


def made(shape, kernel_size, channels_last=False, **options):
    def make(maker):
        x = maker.normal(*shape)
        if channels_last:
            layout = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
            x = x.detach().contiguous(memory_format=layout).requires_grad_(maker.grad)
        return Call((x, kernel_size), options)

    return make


def sample(name, shape, kernel_size, channels_last=False, **options):
    return Sample(name, made(shape, kernel_size, channels_last, **options))


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


def strided(maker):
    return Call((maker.normal(2, 4, 10, 22).detach()[:, ::2, 1:, ::2].requires_grad_(maker.grad), 2))


def error(name, message, shape=(1, 2, 6, 6), exception=RuntimeError, kernel_size=3, **options):
    return ErrorSample(name, lambda maker: Call((maker.normal(*shape), kernel_size), options), exception, message)


def bench(name, shape, kernel, stride, padding, channels_last=False, quick=False):
    n = len(shape) - 2
    settings = [kernel] * n, [stride] * n, [padding] * n, [1] * n, False
    values = math.prod(shape) + math.prod(shape[:2]) * math.prod(pooled_size(shape[2:], *settings))
    make = made(shape, kernel, channels_last, stride=stride, padding=padding)
    return BenchCase(name, make, operation.flops(shape, *settings, False), 4 * values, quick)


SPEC = OpSpec(
    name="max_pool",
    function=max_pool,
    stock=stock,
    samples=[
        sample("2d-3x3-stride2", (2, 3, 9, 37), 3, stride=2, padding=1),
        sample("1d", (2, 3, 21), (2,), return_indices=True),
        sample("1d-unbatched", (3, 11), (4,), stride=3, padding=2, ceil_mode=True),
        sample("2d-mixed", (1, 3, 7, 12), (2, 4), stride=(3, 1), padding=(1, 2), dilation=(2, 1), ceil_mode=True),
        sample("2d-channels-last", (2, 19, 7, 6), 3, True, stride=2, padding=1, return_indices=True),
        sample("2d-minimum", (2, 3, 8, 20), 2, minimum=True),
        sample("2d-all-of-it", (2, 2, 17, 18), (17, 18)),
        sample("2d-batch0", (0, 3, 4, 5), 2),
        sample("3d", (1, 2, 5, 4, 19), (2, 3, 2), stride=(1, 2, 3), padding=(1, 1, 0), return_indices=True),
        sample("3d-channels-last", (1, 5, 4, 5, 6), 2, True, stride=1, dilation=2),
        Sample("ties", ties),
        Sample("infinite", infinite),
        Sample("nan", nan),
        Sample("strided", strided),
    ],
    errors=[
        error("input-2d", "input", shape=(6, 6)),
        error("kernel-count", "kernel_size", kernel_size=(3, 3, 3, 3)),
        error("kernel-0", "kernel_size", kernel_size=0),
        error("kernel-float", "kernel_size", exception=TypeError, kernel_size=2.5),
        error("stride-0", "stride", stride=0),
        error("stride-count", "stride", stride=(1, 1, 1)),
        error("padding-negative", "padding", padding=-1),
        error("padding-beyond-half", "half", padding=2),
        error("dilation-0", "dilation", dilation=0),
        error("too-large", "smaller", kernel_size=7),
        error("no-channels", "empty", shape=(1, 0, 6, 6)),
        ErrorSample("input-list", lambda maker: Call(([1.0, 2.0], 2)), TypeError, "input is a list"),
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
