"""`adaptive_max_pool`: the largest of each of a given number of windows, in one, two or three dimensions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.adaptive_max_pool import cpu
from nnzoo_fast.ops.adaptive_max_pool.reference import chosen, reference
from nnzoo_fast.pooling.adaptive import OutputSize, check_output_size, dimensions_of, output_size_of
from nnzoo_fast.pooling.calls import dimensions_without_shape, with_batch

__all__ = ["adaptive_max_pool", "operation", "operation_with_indices", "reference"]

_STOCK = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)


def adaptive_max_pool(
    input: torch.Tensor, output_size: OutputSize, return_indices: bool = False, *, backend: str | None = None
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """The largest values of as many windows as are asked for. `F.adaptive_max_pool1d`, `F.adaptive_max_pool2d` and 3d.

    Window o of O along a dimension of size I is the elements floor(o I / O) to ceil((o + 1) I / O).

    Args:
        input: [batch, channels, *size], or [channels, *size]. Channels-last memory stays channels-last.
        output_size: the number of windows along each dimension, None for that of elements; a tuple says how many
            dimensions there are, an int leaves it to a batched input. 1 is global pooling.
        return_indices: also return where the chosen elements stand.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [batch, channels, *output_size] in the dtype of `input`. With `return_indices` also int64 of that shape:
        positions in *size, row by row. The first of equal values is chosen; of NaN, the last.

    Raises:
        TypeError: sizes that are not integers.
        ValueError: an input of too few dimensions.
        RuntimeError: negative sizes, or an input without elements.
        BackendError: `backend` can't run this call.
    """
    call = (input, output_size)
    pool = operation_with_indices if return_indices else operation
    declined = pool.goes_to_stock(call, backend)
    if not declined:
        check_tensors("adaptive_max_pool", input=input)
        if not is_traceable(input):
            n = dimensions_without_shape("adaptive_max_pool", output_size, "output_size")
            return _STOCK[n - 1](input, output_size, return_indices)
    n = dimensions_of("adaptive_max_pool", input, output_size)
    size = output_size_of("adaptive_max_pool", input, n, output_size)
    if declined:
        return _STOCK[n - 1](input, size, return_indices)
    return with_batch(pool, call, n, (input,), (size,), backend)


def stock(input, size):
    return _STOCK[len(size) - 1](input, size)


def stock_with_indices(input, size):
    return _STOCK[len(size) - 1](input, size, True)


def check(input, size):
    check_output_size("adaptive_max_pool", input, size)


def keeps(args, needs):
    return (True,), (False, True)


def flops(input, size):
    return math.prod(input)


operation = Operation(
    "adaptive_max_pool",
    "Tensor input, SymInt[] size",
    ("output", "chosen"),
    allocate=cpu.allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
)

operation_with_indices = Operation(
    "adaptive_max_pool_with_indices",
    "Tensor input, SymInt[] size",
    ("output", "indices"),
    visible=2,
    allocate=cpu.allocate_with_indices,
    reference=chosen,
    stock=stock_with_indices,
    table=(Backend("cpu", cpu.supports, cpu.forward_with_indices, cpu.backward_with_indices, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
)
