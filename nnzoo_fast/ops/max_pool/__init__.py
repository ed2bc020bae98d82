"""`max_pool` and `min_pool`: the largest or smallest value of each window, in one, two or three dimensions."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.max_pool import cpu
from nnzoo_fast.ops.max_pool.outputs import allocate, allocate_with_indices, by_byte
from nnzoo_fast.ops.max_pool.reference import chosen, reference, reverse
from nnzoo_fast.pooling.calls import Size, dimensions_of, dimensions_without_shape, with_batch
from nnzoo_fast.pooling.windows import check_windows, pooled_size, settings_of

__all__ = ["max_pool", "min_pool", "operation", "operation_with_indices", "reference"]

torch.fx.wrap("reverse")  # fx records the call: what it does depends on the dtype, which a proxy doesn't know

_STOCK = (F.max_pool1d, F.max_pool2d, F.max_pool3d)


def max_pool(
    input: torch.Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    minimum: bool = False,
    backend: str | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """The largest value of every window of `input`. `F.max_pool1d`, `F.max_pool2d`, `F.max_pool3d`.

    Args:
        input: [batch, channels, *size], or [channels, *size]. Channels-last memory stays channels-last.
        kernel_size: taps of a window; a tuple says how many dimensions there are, an int leaves it to a batched input.
        stride: distance of neighbouring windows, `kernel_size` by default; an int stands for every dimension.
        padding: what windows reach over both ends; at most half a window. It is never chosen.
        dilation: distance of neighbouring taps.
        ceil_mode: windows may reach over the end, if they begin inside or in the padding before.
        return_indices: also return where the chosen elements stand.
        minimum: the smallest value instead.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [batch, channels, *count] in the dtype of `input`. With `return_indices` also int64 of that shape: positions in
        *size, row by row. The first of equal values is chosen; of NaN, the last.

    Raises:
        TypeError: sizes that are not integers.
        RuntimeError: windows that don't fit `input`.
        BackendError: `backend` can't run this call.
    """
    call = (input, kernel_size, stride, padding, dilation, ceil_mode, minimum)
    pool = operation_with_indices if return_indices else operation
    if pool.goes_to_stock(call, backend):
        n = dimensions_of("max_pool", input, kernel_size)
        return _pool(n, return_indices, *call)
    check_tensors("max_pool", input=input)
    if not is_traceable(input):
        return _pool(dimensions_without_shape("max_pool", kernel_size), return_indices, *call)
    n = dimensions_of("max_pool", input, kernel_size)
    settings = *settings_of("max_pool", n, kernel_size, stride, padding, dilation), ceil_mode, minimum
    return with_batch(pool, call, n, (input,), settings, backend)


def min_pool(
    input: torch.Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    backend: str | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """The smallest value of every window: `max_pool` with `minimum=True`."""
    settings = kernel_size, stride, padding, dilation, ceil_mode, return_indices
    return max_pool(input, *settings, minimum=True, backend=backend)


def _pool(n, return_indices, input, kernel, stride, padding, dilation, ceil_mode, minimum):
    pool = _STOCK[n - 1]
    if not minimum:
        return pool(input, kernel, stride, padding, dilation, ceil_mode, return_indices)
    result = pool(reverse(input), kernel, stride, padding, dilation, ceil_mode, return_indices)
    return (reverse(result[0]), result[1]) if return_indices else reverse(result)


def stock(input, kernel, *rest):
    return _pool(len(kernel), False, input, kernel, *rest)


def stock_with_indices(input, kernel, *rest):
    return _pool(len(kernel), True, input, kernel, *rest)


def check(input, kernel, stride, padding, dilation, ceil_mode, minimum):
    check_windows("max_pool", input, kernel, stride, padding, dilation, ceil_mode)


def keeps(args, needs):
    return (True,), (False, True)


def keeps_with_indices(args, needs):
    return (True,), (False, not by_byte(args[1]), by_byte(args[1]))


def flops(input, kernel, stride, padding, dilation, ceil_mode, minimum):
    comparisons = input[0] * input[1]
    for taps, windows in zip(kernel, pooled_size(input[2:], kernel, stride, padding, dilation, ceil_mode), strict=True):
        comparisons *= taps * windows
    return comparisons


_ARGUMENTS = "Tensor input, int[] kernel, int[] stride, int[] padding, int[] dilation, bool ceil_mode, bool minimum"

operation = Operation(
    "max_pool",
    _ARGUMENTS,
    ("output", "chosen"),
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
)

operation_with_indices = Operation(
    "max_pool_with_indices",
    _ARGUMENTS,
    ("output", "indices", "chosen"),
    visible=2,
    allocate=allocate_with_indices,
    reference=chosen,
    stock=stock_with_indices,
    table=(Backend("cpu", cpu.supports, cpu.forward_with_indices, cpu.backward_with_indices, cpu.pays),),
    check=check,
    keeps=keeps_with_indices,
    flops=flops,
)
