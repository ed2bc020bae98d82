"""`max_unpool`: values put back where max-pooling found them, in one, two or three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.max_unpool import cpu
from nnzoo_fast.ops.max_unpool.reference import reference
from nnzoo_fast.pooling.calls import Size, dimensions_of, dimensions_without_shape, with_batch
from nnzoo_fast.pooling.windows import settings_of

__all__ = ["max_unpool", "operation", "reference"]

_STOCK = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)


def max_unpool(
    input: torch.Tensor,
    indices: torch.Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """Zeros, and every value of `input` where `indices` puts it. `F.max_unpool1d`, `F.max_unpool2d`, `F.max_unpool3d`.

    Args:
        input: [batch, channels, *count], or [channels, *count]. Channels-last memory stays channels-last.
        indices: int64 in the shape of `input`, as `max_pool` returns them: positions in *size, row by row. Of several
            values with one place, the last stays.
        kernel_size, stride, padding: of the pooling that is undone; they say how large its input was.
        output_size: that size, where several go with *count; batch and channels may stand before it.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [batch, channels, *size] in the dtype of `input`; *size is (count - 1) * stride + kernel_size - 2 * padding, or
        `output_size`.

    Raises:
        TypeError: sizes that are not integers.
        ValueError: an `output_size` of another length, or one that doesn't go with *count.
        RuntimeError: `indices` of another dtype or shape, or out of range.
        BackendError: `backend` can't run this call.
    """
    call = (input, indices, kernel_size, stride, padding, output_size)
    declined = operation.goes_to_stock(call, backend)
    if not declined:
        check_tensors("max_unpool", input=input, indices=indices)
        if not (is_traceable(input) and is_traceable(indices)):
            return _STOCK[dimensions_without_shape("max_unpool", kernel_size) - 1](*call)
    n = dimensions_of("max_unpool", input, kernel_size)
    if declined:
        return _STOCK[n - 1](*call)
    _check_indices(input, indices)
    kernel, stride, padding, _ = settings_of("max_unpool", n, kernel_size, stride, padding)
    size = _size_of(input.shape[input.dim() - n :], kernel, stride, padding, output_size)
    return with_batch(operation, call, n, (input, indices), (kernel, stride, padding, size), backend)


def _check_indices(input, indices):
    if indices.dtype != torch.int64:
        raise RuntimeError(f"max_unpool: indices must be int64, got {indices.dtype}")
    if indices.shape != input.shape:
        raise RuntimeError(f"max_unpool: indices must be {list(input.shape)} as input is, got {list(indices.shape)}")


def _size_of(count, kernel, stride, padding, output_size) -> list[int]:
    n = len(kernel)
    default = [(count[i] - 1) * stride[i] + kernel[i] - 2 * padding[i] for i in range(n)]
    size = default
    if output_size is not None:
        size = list(output_size)[2:] if len(output_size) == n + 2 else list(output_size)
        if len(size) != n:
            raise ValueError(f"max_unpool: output_size must have {n} or {n + 2} numbers, got {list(output_size)}")
        for wanted, usual, step in zip(size, default, stride, strict=True):
            if not usual - step < wanted < usual + step:
                raise ValueError(
                    f"max_unpool: output_size {size} doesn't go with input {list(count)}: it must be less than "
                    f"{stride} away from {default}"
                )
    if min(size) < 0:
        raise ValueError(f"max_unpool: output_size must not be negative, got {size}")
    return size


def stock(input, indices, kernel, stride, padding, size):
    return _STOCK[len(kernel) - 1](input, indices, kernel, stride, padding, size)


def check(input, indices, kernel, stride, padding, size):
    if min(input.shape[1:]) < 1:
        raise RuntimeError(f"max_unpool: input {list(input.shape)} may be empty in the batch alone")
    if indices.device != input.device:
        raise RuntimeError(f"max_unpool: indices are on {indices.device}, expected input's {input.device}")


def keeps(args, needs):
    return (False, True), (False,)


def flops(input, indices, kernel, stride, padding, size):
    return math.prod(input)


operation = Operation(
    "max_unpool",
    "Tensor input, Tensor indices, int[] kernel, int[] stride, int[] padding, SymInt[] size",
    ("output",),
    allocate=cpu.allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
)
