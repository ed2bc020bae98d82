"""What the specs of the poolings share: inputs, wrong calls and calls worth timing."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nnzoo_fast.norms.channel_samples import channels_last as as_channels_last
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, Maker, Sample

Make = Callable[[Maker], Call]


def image(maker: Maker, shape, channels_last: bool = False) -> torch.Tensor:
    made = maker.normal(*shape)
    return as_channels_last(made) if channels_last else made


def made(shape, *settings, channels_last: bool = False, **options) -> Make:
    return lambda maker: Call((image(maker, shape, channels_last), *settings), options)


def sample(name: str, shape, *settings, channels_last: bool = False, **options) -> Sample:
    """A normally distributed input of `shape`, and the settings and options of the call."""
    return Sample(name, made(shape, *settings, channels_last=channels_last, **options))


def strided(*settings) -> Sample:
    """An input that is neither contiguous nor channels-last."""

    def make(maker: Maker) -> Call:
        return Call((maker.normal(2, 4, 10, 22).detach()[:, ::2, 1:, ::2].requires_grad_(maker.grad), *settings))

    return Sample("strided", make)


def error(name: str, message: str, *settings, shape=(1, 2, 6, 6), exception=RuntimeError, **options) -> ErrorSample:
    return ErrorSample(name, made(shape, *settings, **options), exception, message)


def not_a_tensor(*settings) -> ErrorSample:
    return ErrorSample("input-list", lambda maker: Call(([1.0, 2.0], *settings)), TypeError, "input is a list")


def of_windows(kernel_size: int = 3, *before) -> list[ErrorSample]:
    """What is wrong with the windows of any pooling of a kernel size; `before` are the settings before it."""
    return [
        error("input-2d", "input", *before, kernel_size, shape=(6, 6)),
        error("kernel-count", "kernel_size", *before, (3, 3, 3, 3)),
        error("kernel-0", "kernel_size", *before, 0),
        error("kernel-float", "kernel_size", *before, 2.5, exception=TypeError),
        error("stride-0", "stride", *before, kernel_size, stride=0),
        error("stride-count", "stride", *before, kernel_size, stride=(1, 1, 1)),
        error("too-large", "smaller", *before, 7),
        error("no-channels", "empty", *before, kernel_size, shape=(1, 0, 6, 6)),
        not_a_tensor(*before, kernel_size),
    ]


def of_output_size() -> list[ErrorSample]:
    """What is wrong with any adaptive pooling."""
    return [
        error("input-2d", "input", 3, shape=(6, 6)),
        error("size-count", "output_size", (3, 3, 3, 3)),
        error("size-of-other-dimensions", "input", (3,)),
        error("too-few-dimensions", "input", (3, 3), shape=(6, 6), exception=ValueError),
        error("size-negative", "output_size", (3, -1)),
        error("size-float", "output_size", 2.5, exception=TypeError),
        error("no-elements", "empty", 3, shape=(1, 2, 0, 6)),
        not_a_tensor(3),
    ]


def bench(name: str, shape, *settings, values: int, flops: float, quick=False, channels_last=False, **options):
    """`values`: how many are read and written by the forward call."""
    make = made(shape, *settings, channels_last=channels_last, **options)
    return BenchCase(name, make, flops, 4 * values, quick)


def dimensions_of_call(input: torch.Tensor, size: object) -> int:
    return len(size) if isinstance(size, (tuple, list)) else input.dim() - 2


def in_float32(stock: Callable) -> Callable:
    """`stock` in float32, rounded, where PyTorch doesn't know bfloat16 on the CPU."""

    def rounded(input, *args, **options):
        result = stock(input.float(), *args, **options)
        return result.to(input.dtype)

    def choose(input, *args, **options):
        return (rounded if input.dtype == torch.bfloat16 else stock)(input, *args, **options)

    return choose
