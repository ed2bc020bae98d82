"""Windows that slide over an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Verdict
from nnzoo_fast.ops.conv.arguments import per_dimension
from nnzoo_fast.ops.conv.outputs import memory_format_of
from nnzoo_fast.pooling.calls import Size

MOST = 2**31 - 1
"""The largest setting: torch's poolings, like the kernels, read them as int32."""


def settings_of(op: str, n: int, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size = 1) -> tuple:
    """Kernel, stride, padding and dilation as lists of n; the stride is the kernel's size by default."""
    kernel = per_dimension("kernel_size", kernel_size, n, op)
    if stride is None or (not isinstance(stride, int) and len(stride) == 0):
        stride = kernel
    stride = per_dimension("stride", stride, n, op)
    return (
        kernel,
        stride,
        per_dimension("padding", padding, n, op),
        per_dimension("dilation", dilation, n, op),
    )


def pooled_size(size, kernel, stride, padding, dilation, ceil_mode: bool) -> list[int]:
    """How many windows there are along each dimension. None of them begins in the padding at the end."""
    count = []
    for i in range(len(kernel)):
        free = size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1
        number = (free + (stride[i] - 1 if ceil_mode else 0)) // stride[i] + 1
        if ceil_mode and (number - 1) * stride[i] >= size[i] + padding[i]:
            number -= 1
        count.append(number)
    return count


def check_windows(op: str, input, kernel, stride, padding, dilation, ceil_mode: bool) -> None:
    """Raises RuntimeError, as torch does, for windows that don't fit `input` [batch, channels, *size]."""
    for name, values, least in (
        ("kernel_size", kernel, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        if min(values) < least:
            raise RuntimeError(f"{op}: {name} must be at least {least}, got {list(values)}")
        if max(values) > MOST:
            raise RuntimeError(f"{op}: {name} must be at most {MOST}, got {list(values)}")
    for pad, size, gap in zip(padding, kernel, dilation, strict=True):
        # torch counts the gaps in one dimension only
        if pad > (((size - 1) * gap + 1) // 2 if len(kernel) == 1 else size // 2):
            raise RuntimeError(
                f"{op}: padding must be at most half of the window, got {list(padding)} with kernel_size "
                f"{list(kernel)} and dilation {list(dilation)}"
            )
    if min(input.shape[1:]) < 1:
        raise RuntimeError(f"{op}: input {list(input.shape)} may be empty in the batch alone")
    if min(pooled_size(input.shape[2:], kernel, stride, padding, dilation, ceil_mode)) < 1:
        raise RuntimeError(
            f"{op}: input {list(input.shape)} with padding {list(padding)} is smaller than a window of kernel_size "
            f"{list(kernel)} with dilation {list(dilation)}"
        )


def check_inside(op: str, input, kernel) -> None:
    """Raises RuntimeError for windows larger than an unpadded `input`, as torch's sums do in three dimensions alone."""
    if len(kernel) == 3 and any(taps > size for taps, size in zip(kernel, input.shape[2:], strict=True)):
        raise RuntimeError(f"{op}: input {list(input.shape)} is smaller than kernel_size {list(kernel)}")


def fits_kernels(input, kernel, padding, dilation) -> Verdict:
    """Whether the kernels should be asked: they keep a number for every tap and for every element of the padding."""
    for size, taps, pad, gap in zip(input.shape[2:], kernel, padding, dilation, strict=True):
        if pad > size or (taps - 1) * gap >= 4 * size:
            return False, f"windows of kernel_size {list(kernel)} are mostly padding on input {list(input.shape)}"
    return True, ""


def in_three(values, filler: int) -> tuple[int, ...]:
    return (*(filler,) * (3 - len(values)), *values)


def window_numbers(input_size, output_size, kernel, stride, padding, dilation) -> tuple[int, ...]:
    """`Windows` of csrc/common/windows.h."""
    # A stride or dilation of no consequence may be as large as int32, unlike its multiples.
    stride = [step if windows > 1 else 1 for step, windows in zip(stride, output_size, strict=True)]
    dilation = [gap if taps > 1 else 1 for gap, taps in zip(dilation, kernel, strict=True)]
    return (
        *in_three(input_size, 1),
        *in_three(output_size, 1),
        *in_three(kernel, 1),
        *in_three(stride, 1),
        *in_three(padding, 0),
        *in_three(dilation, 1),
    )


def summed_window_numbers(input, output_size, kernel, stride, padding, divisor=0, count_include_pad=False) -> tuple:
    """`SummedWindowNumbers` of csrc/common/windows_bind.h."""
    windows = window_numbers(input.shape[2:], output_size, kernel, stride, padding, [1] * len(kernel))
    channels_last = memory_format_of(input) is not torch.contiguous_format
    return (*input.shape[:2], windows, divisor, count_include_pad, channels_last)


def unfolded(input, kernel, stride, padding, dilation, count, filler: float):
    """Every window of `input` [batch, channels, *size] as a row: [batch, channels, *count, taps]."""
    n = len(kernel)
    pads = []
    for i in reversed(range(n)):
        reach = (count[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1
        pads += [padding[i], reach - padding[i] - input.shape[2 + i]]
    windows = F.pad(input, pads, value=filler)
    for i in range(n):
        windows = windows.unfold(2 + i, dilation[i] * (kernel[i] - 1) + 1, stride[i])[..., :: dilation[i]]
    return windows.flatten(2 + n)
