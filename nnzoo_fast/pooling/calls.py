"""How the public functions of the poolings read their arguments: the dimensions, and an input without a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nnzoo_fast._compat import any_autocast_enabled
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.conv.outputs import memory_format_of

Size = int | Sequence[int]

WIDENED = ("max_unpool",)
"""The poolings that torch's autocast on the CPU runs in float32, as it does all of three dimensions."""

HALF = (torch.bfloat16, torch.float16)


def dimensions_of(op: str, input: torch.Tensor, size: object, name: str = "kernel_size") -> int:
    """How many dimensions a pooling has: those of `size`, the argument `name`, or all of `input` behind batch and
    channels.

    Raises:
        RuntimeError: they are not one to three, or `input` has others.
    """
    n = len(size) if isinstance(size, (tuple, list)) else input.dim() - 2
    if n not in (1, 2, 3) or input.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"{op}: input {list(input.shape)} must be [batch, channels, *size] or [channels, *size] with one to three "
            f"sizes, as many as {name} {size!r} has"
        )
    return n


def dimensions_without_shape(op: str, size: object, name: str = "kernel_size") -> int:
    """The same for an input that has no shape yet, such as an fx proxy.

    Raises:
        TypeError: `size` doesn't say.
    """
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"{op}: {name} must be a tuple where input has no shape yet, got {size!r}")
    return len(size)


def with_batch(operation: Operation, call: tuple, n: int, tensors: Sequence[torch.Tensor], settings: tuple, backend):
    """`operation` on [batch, channels, *size], a batch of one where `tensors` have none; `call` as in `Operation`."""
    if any_autocast_enabled() and (n == 3 or operation.name in WIDENED) and tensors[0].dtype in HALF:
        return operation.stock(*tensors, *settings)
    if tensors[0].dim() == n + 2:
        return operation(*tensors, *settings, backend=backend, call=call)
    result = operation(*(tensor.unsqueeze(0) for tensor in tensors), *settings, backend=backend, call=call)
    return tuple(value.squeeze(0) for value in result) if isinstance(result, tuple) else result.squeeze(0)


def outputs_like(input: torch.Tensor, size: Sequence[int], dtype: torch.dtype | None = None) -> torch.Tensor:
    """Uninitialised [batch, channels, *size], channels-last for a channels-last input, else contiguous."""
    shape = (*input.shape[:2], *size)
    layout = memory_format_of(input)
    return torch.empty(shape, dtype=dtype or input.dtype, device=input.device, memory_format=layout)
