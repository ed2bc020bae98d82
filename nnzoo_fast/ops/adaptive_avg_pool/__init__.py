"""`adaptive_avg_pool`: the mean of each of a given number of windows, in one, two or three dimensions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.adaptive_avg_pool import cpu
from nnzoo_fast.ops.adaptive_avg_pool.reference import reference
from nnzoo_fast.pooling.adaptive import OutputSize, check_output_size, dimensions_of, output_size_of
from nnzoo_fast.pooling.calls import dimensions_without_shape, with_batch

__all__ = ["adaptive_avg_pool", "operation", "reference"]

_STOCK = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)


def adaptive_avg_pool(input: torch.Tensor, output_size: OutputSize, *, backend: str | None = None) -> torch.Tensor:
    """The means of as many windows as are asked for. `F.adaptive_avg_pool1d`, `F.adaptive_avg_pool2d` and 3d.

    Window o of O along a dimension of size I is the elements floor(o I / O) to ceil((o + 1) I / O).

    Args:
        input: [batch, channels, *size], or [channels, *size]. Channels-last memory stays channels-last.
        output_size: the number of windows along each dimension, None for that of elements; a tuple says how many
            dimensions there are, an int leaves it to a batched input. 1 is global pooling.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [batch, channels, *output_size] in the dtype of `input`.

    Raises:
        TypeError: sizes that are not integers.
        ValueError: an input of too few dimensions.
        RuntimeError: negative sizes, or an input without elements.
        BackendError: `backend` can't run this call.
    """
    call = (input, output_size)
    declined = operation.goes_to_stock(call, backend)
    if not declined:
        check_tensors("adaptive_avg_pool", input=input)
        if not is_traceable(input):
            n = dimensions_without_shape("adaptive_avg_pool", output_size, "output_size")
            return _STOCK[n - 1](input, output_size)
    n = dimensions_of("adaptive_avg_pool", input, output_size)
    size = output_size_of("adaptive_avg_pool", input, n, output_size)
    if declined:
        return stock(input, size)
    return with_batch(operation, call, n, (input,), (size,), backend)


def stock(input, size):
    return _STOCK[len(size) - 1](input, size)


def check(input, size):
    check_output_size("adaptive_avg_pool", input, size)


def keeps(args, needs):
    return (True,), (False,)


def flops(input, size):
    return math.prod(input)


operation = Operation(
    "adaptive_avg_pool",
    "Tensor input, SymInt[] size",
    ("output",),
    allocate=cpu.allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
)
