"""`lp_pool`: the p-norm of each window, in one, two or three dimensions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.lp_pool import cpu
from nnzoo_fast.ops.lp_pool.reference import reference
from nnzoo_fast.ops.max_pool import max_pool, min_pool
from nnzoo_fast.pooling.calls import Size, dimensions_of, dimensions_without_shape, with_batch
from nnzoo_fast.pooling.windows import check_inside, check_windows, pooled_size, settings_of

__all__ = ["lp_pool", "operation", "reference"]

_STOCK = (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)


def lp_pool(
    input: torch.Tensor,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """(sum of x^p)^(1/p) over every window of `input`, p being `norm_type`. `F.lp_pool1d`, `F.lp_pool2d` and 3d.

    As in torch, powers keep the sign that they have: an odd p of negative values gives NaN.

    Args:
        input: [batch, channels, *size], or [channels, *size]. Channels-last memory stays channels-last.
        norm_type: any number but 0; for infinity the largest magnitude, for -infinity the smallest.
        kernel_size: size of a window; a tuple says how many dimensions there are, an int leaves it to a batched input.
        stride: distance of neighbouring windows, `kernel_size` by default; an int stands for every dimension.
        ceil_mode: windows may reach over the end, if they begin inside; their sums are magnified to full windows.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [batch, channels, *count] in the dtype of `input`. The gradient of a window whose sum is 0 is 0.

    Raises:
        TypeError: a norm that is no number, or sizes that are not integers.
        ZeroDivisionError: `norm_type` is 0.
        RuntimeError: windows that don't fit `input`.
        BackendError: `backend` can't run this call.
    """
    if not isinstance(norm_type, (int, float)):
        raise TypeError(f"lp_pool: norm_type must be a number, got {norm_type!r}")
    if norm_type == 0:
        raise ZeroDivisionError("lp_pool: norm_type must not be 0")
    if math.isinf(norm_type):
        check_tensors("lp_pool", input=input)
        pool = max_pool if norm_type > 0 else min_pool
        return pool(input.abs(), kernel_size, stride, ceil_mode=ceil_mode, backend=backend)
    call = (input, float(norm_type), kernel_size, stride, ceil_mode)
    if operation.goes_to_stock(call, backend):
        return _pool(dimensions_of("lp_pool", input, kernel_size), *call)
    check_tensors("lp_pool", input=input)
    if not is_traceable(input):
        return _pool(dimensions_without_shape("lp_pool", kernel_size), *call)
    n = dimensions_of("lp_pool", input, kernel_size)
    kernel, stride, _, _ = settings_of("lp_pool", n, kernel_size, stride, 0)
    return with_batch(operation, call, n, (input,), (float(norm_type), kernel, stride, ceil_mode), backend)


def _pool(n, input, p, kernel, stride, ceil_mode):
    kernel, stride, _, _ = settings_of("lp_pool", n, kernel, stride, 0)
    if n == 1:  # torch's lp_pool1d takes no tuple
        kernel, stride = kernel[0], stride[0]
    return _STOCK[n - 1](input, p, kernel, stride, ceil_mode)


def stock(input, p, kernel, *rest):
    return _pool(len(kernel), input, p, kernel, *rest)


def check(input, p, kernel, stride, ceil_mode):
    check_windows("lp_pool", input, kernel, stride, [0] * len(kernel), [1] * len(kernel), ceil_mode)
    check_inside("lp_pool", input, kernel)


def flops(input, p, kernel, stride, ceil_mode):
    sums = input[0] * input[1]
    count = pooled_size(input[2:], kernel, stride, [0] * len(kernel), [1] * len(kernel), ceil_mode)
    for taps, windows in zip(kernel, count, strict=True):
        sums *= taps * windows
    return 2 * sums


operation = Operation(
    "lp_pool",
    "Tensor input, float p, int[] kernel, int[] stride, bool ceil_mode",
    ("output",),
    allocate=cpu.allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    flops=flops,
)
