"""`avg_pool`: the mean of each window, in one, two or three dimensions."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.avg_pool import cpu
from nnzoo_fast.ops.avg_pool.reference import reference
from nnzoo_fast.pooling.calls import Size, dimensions_of, dimensions_without_shape, with_batch
from nnzoo_fast.pooling.windows import check_inside, check_windows, pooled_size, settings_of

__all__ = ["avg_pool", "operation", "reference"]

_STOCK = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def avg_pool(
    input: torch.Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """The mean of every window of `input`. `F.avg_pool1d`, `F.avg_pool2d`, `F.avg_pool3d`.

    Args:
        input: [batch, channels, *size], or [channels, *size]. Channels-last memory stays channels-last.
        kernel_size: size of a window; a tuple says how many dimensions there are, an int leaves it to a batched input.
        stride: distance of neighbouring windows, `kernel_size` by default; an int stands for every dimension.
        padding: zeros that windows reach over both ends; at most half a window.
        ceil_mode: windows may reach over the end, if they begin inside or in the padding before.
        count_include_pad: a mean counts the padding too.
        divisor_override: what every sum is divided by instead.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [batch, channels, *count] in the dtype of `input`.

    Raises:
        TypeError: sizes that are not integers.
        RuntimeError: windows that don't fit `input`, or a divisor of 0.
        BackendError: `backend` can't run this call.
    """
    call = (input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    if operation.goes_to_stock(call, backend):
        return _pool(dimensions_of("avg_pool", input, kernel_size), *call)
    check_tensors("avg_pool", input=input)
    if not is_traceable(input):
        return _pool(dimensions_without_shape("avg_pool", kernel_size), *call)
    n = dimensions_of("avg_pool", input, kernel_size)
    kernel, stride, padding, _ = settings_of("avg_pool", n, kernel_size, stride, padding)
    if divisor_override == 0:
        raise RuntimeError("avg_pool: divisor_override must not be 0")
    settings = kernel, stride, padding, ceil_mode, count_include_pad, divisor_override or 0
    return with_batch(operation, call, n, (input,), settings, backend)


def _pool(n, input, kernel, stride, padding, ceil_mode, count_include_pad, divisor):
    if n > 1:
        return _STOCK[n - 1](input, kernel, stride, padding, ceil_mode, count_include_pad, divisor or None)
    if not divisor:
        return F.avg_pool1d(input, kernel, stride, padding, ceil_mode, count_include_pad)
    # torch's avg_pool1d takes no divisor.
    kernel, stride, padding, _ = settings_of("avg_pool", 1, kernel, stride, padding)
    sizes = (1, *kernel), (1, *stride), (0, *padding)
    return F.avg_pool2d(input.unsqueeze(-2), *sizes, ceil_mode, count_include_pad, divisor).squeeze(-2)


def stock(input, kernel, *rest):
    return _pool(len(kernel), input, kernel, *rest)


def check(input, kernel, stride, padding, ceil_mode, count_include_pad, divisor):
    check_windows("avg_pool", input, kernel, stride, padding, [1] * len(kernel), ceil_mode)
    check_inside("avg_pool", input, kernel)


def keeps(args, needs):
    return (True,), (False,)


def flops(input, kernel, stride, padding, ceil_mode, count_include_pad, divisor):
    sums = input[0] * input[1]
    count = pooled_size(input[2:], kernel, stride, padding, [1] * len(kernel), ceil_mode)
    for taps, windows in zip(kernel, count, strict=True):
        sums *= taps * windows
    return sums


operation = Operation(
    "avg_pool",
    "Tensor input, int[] kernel, int[] stride, int[] padding, bool ceil_mode, bool count_include_pad, int divisor",
    ("output",),
    allocate=cpu.allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
)
