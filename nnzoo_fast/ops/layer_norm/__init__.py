"""`layer_norm`: rows normalised by their own mean and variance, each in one visit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors
from nnzoo_fast.norms import rows
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.layer_norm import cpu
from nnzoo_fast.ops.layer_norm.reference import reference

__all__ = ["layer_norm", "operation", "reference"]


def layer_norm(
    input: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """(input - mean) / sqrt(variance + eps) * weight + bias. `torch.nn.functional.layer_norm`.

    Args:
        input: [*, *normalized_shape].
        normalized_shape: the last dimensions, over which mean and variance are taken.
        weight, bias: [*normalized_shape], of input's dtype; float32 too for a 16-bit input.
        eps: added to the variance.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        As input, contiguous.

    Raises:
        TypeError: `input` is no tensor.
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.

    Source: Ba, Kiros, Hinton, "Layer normalization", 2016.
    """
    return operation(input, list(normalized_shape), weight, bias, eps, backend=backend)


def check(input, normalized_shape, weight, bias, eps):
    check_tensors("layer_norm", input=input)
    rows.check("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    rows.check_dtypes("layer_norm", input, weight=weight, bias=bias)


def allocate(input, normalized_shape, weight, bias, eps, training):
    def statistics():
        return rows.statistics_like(input, normalized_shape) if training else None

    return input.new_empty(input.shape), statistics(), statistics()


def keeps(args, needs):
    return (True, needs[0], False), (False, True, True)


def flops(input, normalized_shape, weight, bias, eps):
    count = 1
    for size in input:
        count *= size
    return 8 * count


operation = Operation(
    "layer_norm",
    "Tensor input, SymInt[] normalized_shape, Tensor? weight, Tensor? bias, float eps",
    ("output", "mean", "rstd"),
    allocate=allocate,
    reference=reference,
    stock=F.layer_norm,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
    compiles=False,
)
