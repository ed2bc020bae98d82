"""The calls of `avg_pool` that are checked and timed."""

import functools
import math

import torch

from nnzoo_fast.ops.avg_pool import _pool, avg_pool, operation
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample
from nnzoo_fast.windows import pooled_size


def stock(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    n = input.dim() - 2 if isinstance(kernel_size, int) else len(kernel_size)
    settings = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    if n == 3 and input.dtype == torch.bfloat16:  # which torch's avg_pool3d doesn't know
        return _pool(n, input.float(), *settings).to(input.dtype)
    return _pool(n, input, *settings)


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


def strided(maker):
    return Call((maker.normal(2, 4, 10, 22).detach()[:, ::2, 1:, ::2].requires_grad_(maker.grad), 2))


def error(name, message, shape=(1, 2, 6, 6), exception=RuntimeError, kernel_size=3, **options):
    return ErrorSample(name, lambda maker: Call((maker.normal(*shape), kernel_size), options), exception, message)


def bench(name, shape, kernel, stride, padding, channels_last=False, quick=False):
    n = len(shape) - 2
    settings = [kernel] * n, [stride] * n, [padding] * n
    count = pooled_size(shape[2:], *settings, [1] * n, False)
    values = math.prod(shape) + math.prod(shape[:2]) * math.prod(count)
    make = made(shape, kernel, channels_last, stride=stride, padding=padding)
    return BenchCase(name, make, operation.flops(shape, *settings, False, True, 0), 4 * values, quick)


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
        sample("2d-channels-last", (2, 19, 7, 6), 3, True, stride=2, padding=1),
        sample("2d-all-of-it", (2, 2, 5, 18), (5, 18)),
        sample("2d-batch0", (0, 3, 4, 5), 2),
        sample("3d", (1, 2, 5, 4, 19), (2, 3, 2), stride=(1, 2, 3), padding=(1, 1, 0), ceil_mode=True),
        sample("3d-channels-last", (1, 5, 4, 5, 6), 2, True, stride=1, count_include_pad=False, padding=1),
        Sample("strided", strided),
    ],
    errors=[
        error("input-2d", "input", shape=(6, 6)),
        error("kernel-count", "kernel_size", kernel_size=(3, 3, 3, 3)),
        error("kernel-0", "kernel_size", kernel_size=0),
        error("kernel-float", "kernel_size", exception=TypeError, kernel_size=2.5),
        error("stride-0", "stride", stride=0),
        error("padding-negative", "padding", padding=-1),
        error("padding-beyond-half", "half", padding=2),
        error("too-large", "smaller", kernel_size=7),
        error("no-channels", "empty", shape=(1, 0, 6, 6)),
        error("divisor-0", "divisor_override", divisor_override=0),
        ErrorSample("input-list", lambda maker: Call(([1.0, 2.0], 2)), TypeError, "input is a list"),
    ],
    bench=[
        bench("2x2-32-64-56", (32, 64, 56, 56), 2, 2, 0, quick=True),
        bench("3x3-stride2-32-64-56", (32, 64, 56, 56), 3, 2, 1),
        bench("2x2-1-6-28", (1, 6, 28, 28), 2, 2, 0),
    ],
    length=lambda call: 90,
    variants={"vectors of windows": functools.partial(avg_pool, backend="cpu")},
)
