"""`rms_norm`: rows divided by their root mean square, each in one visit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors
from nnzoo_fast.norms import rows
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.rms_norm import cpu
from nnzoo_fast.ops.rms_norm.reference import reference

__all__ = ["operation", "reference", "rms_norm"]


def rms_norm(
    input: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """input / sqrt(mean of squares + eps) * weight. `torch.nn.functional.rms_norm`.

    Args:
        input: [*, *normalized_shape].
        normalized_shape: the last dimensions, over which the mean is taken.
        weight: [*normalized_shape].
        eps: added to the mean; by default that of float64 for a float64 input, else that of float32.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        As input, contiguous.

    Raises:
        TypeError: `input` is no tensor.
        RuntimeError: shapes or devices that don't fit together.
        BackendError: `backend` can't run this call.

    Source: Zhang, Sennrich, "Root mean square layer normalization", 2019.
    """
    return operation(input, list(normalized_shape), weight, eps, backend=backend)


def check(input, normalized_shape, weight, eps):
    check_tensors("rms_norm", input=input)
    rows.check("rms_norm", input, normalized_shape, weight=weight)


def allocate(input, normalized_shape, weight, eps, training):
    return input.new_empty(input.shape), rows.statistics_like(input, normalized_shape) if training else None


def keeps(args, needs):
    return (True, needs[0]), (False, True)


def flops(input, normalized_shape, weight, eps):
    count = 1
    for size in input:
        count *= size
    return 4 * count


operation = Operation(
    "rms_norm",
    "Tensor input, SymInt[] normalized_shape, Tensor? weight, float? eps",
    ("output", "rstd"),
    allocate=allocate,
    reference=reference,
    stock=F.rms_norm,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
    compiles=False,
)
