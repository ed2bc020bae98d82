"""`cross_entropy` of scores and classes, or probabilities of classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nnzoo_fast._compat import any_autocast_enabled
from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.cross_entropy import cpu
from nnzoo_fast.ops.cross_entropy.outputs import allocate
from nnzoo_fast.ops.cross_entropy.reference import REDUCTIONS, reference

__all__ = ["cross_entropy", "operation", "reference"]


def cross_entropy(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """The cross entropy of softmax(input) and `target`. `torch.nn.functional.cross_entropy`.

    Args:
        input: scores [N, C, *size], or [C].
        target: int64 classes [N, *size] (or a scalar), or probabilities like `input`, of any floating-point dtype.
        weight: a factor for each class, [C]; with classes of the dtype of `input`.
        reduction: "none", "sum", or "mean" over the weights of the targets (with probabilities, over N and *size).
        ignore_index: a class whose rows count for nothing.
        label_smoothing: the share of a target that is spread over all classes, 0 to 1.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        A scalar, or [N, *size] without a reduction.

    Raises:
        TypeError: `input` or `target` is no tensor.
        ValueError: `reduction` is unknown, or batches differ in size.
        RuntimeError: shapes, dtypes, devices or a smoothing that don't fit.
        IndexError: a target is no class.
        BackendError: `backend` can't run this call.
    """
    call = (input, target, weight, reduction, ignore_index, label_smoothing)
    if operation.goes_to_stock(call, backend):
        return stock(*call)
    check_tensors("cross_entropy", input=input, target=target)
    if reduction not in REDUCTIONS:
        raise ValueError(f"cross_entropy: reduction is {reduction!r}, expected {', '.join(REDUCTIONS)}")
    if not (is_traceable(input) and is_traceable(target)) or any_autocast_enabled() or input.dim() == 0:
        return stock(*call)
    if input.dim() == 1:
        rest = (input.unsqueeze(0), target.unsqueeze(0), *call[2:])
        loss = operation(*rest, backend=backend, call=call)
        return loss.squeeze(0) if reduction == "none" else loss
    return operation(*call, backend=backend, call=call)


def stock(input, target, weight, reduction, ignore_index, label_smoothing):
    return F.cross_entropy(
        input, target, weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )


def check(input, target, weight, reduction, ignore_index, label_smoothing):
    classes = input.shape[1]
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}")
    if target.shape == input.shape:
        if not target.is_floating_point():
            raise RuntimeError(f"cross_entropy: target like input must hold probabilities, got {target.dtype}")
        if ignore_index >= 0:
            raise RuntimeError(f"cross_entropy: ignore_index is {ignore_index}, but probabilities have no classes")
    else:
        if target.dim() == 0 or target.shape[0] != input.shape[0]:
            raise ValueError(
                f"cross_entropy: target {list(target.shape)} must have the batch of input {list(input.shape)}"
            )
        if target.shape[1:] != input.shape[2:]:
            raise RuntimeError(
                f"cross_entropy: target {list(target.shape)} must be classes [N, *size] or probabilities "
                f"[N, C, *size] for input {list(input.shape)}"
            )
        if target.is_floating_point():
            raise RuntimeError(f"cross_entropy: target is {target.dtype}, expected torch.int64 classes")
    if weight is not None and (weight.dim() != 1 or weight.shape[0] != classes):
        raise RuntimeError(f"cross_entropy: weight must be [{classes}], got {list(weight.shape)}")
    # With probabilities stock torch promotes.
    if weight is not None and weight.dtype != input.dtype and not target.is_floating_point():
        raise RuntimeError(f"cross_entropy: weight is {weight.dtype}, expected input's {input.dtype}")
    for name, tensor in (("target", target), ("weight", weight)):
        if tensor is not None and tensor.device != input.device:
            raise RuntimeError(f"cross_entropy: {name} is on {tensor.device}, expected input's {input.device}")


def keeps(args, needs):
    return (True, True, True), (False, True, True)


def flops(input, target, weight, reduction, ignore_index, label_smoothing):
    count = 5
    for size in input:
        count *= size
    return count


operation = Operation(
    "cross_entropy",
    "Tensor input, Tensor target, Tensor? weight, str reduction, int ignore_index, float label_smoothing",
    ("loss", "kept", "denominator"),
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
    compiles=False,
)
