"""`linear_cross_entropy`: the last layer of a classifier and its loss, without all scores at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nnzoo_fast._compat import any_autocast_enabled
from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.cross_entropy.reference import REDUCTIONS
from nnzoo_fast.ops.linear_cross_entropy import cpu
from nnzoo_fast.ops.linear_cross_entropy.reference import reference

__all__ = ["linear_cross_entropy", "operation", "reference"]


def linear_cross_entropy(
    input: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    bias: torch.Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """cross_entropy(linear(input, weight, bias), target), a chunk of rows at a time.

    In training the gradients are computed in the forward call, where the scores of a chunk are at hand.

    Args:
        input: [*, K].
        weight: [V, K], V classes.
        target: int64 classes [*].
        bias: [V].
        reduction: "mean" over the rows that count, "sum" or "none"; the last needs all scores and runs on stock torch.
        ignore_index: a class whose rows count for nothing.
        label_smoothing: the share of a target that is spread over all classes, 0 to 1.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        A scalar, or [*] without a reduction.

    Raises:
        TypeError: `input`, `weight` or `target` is no tensor.
        ValueError: `reduction` is unknown, or `input` and `target` differ in length.
        RuntimeError: shapes, dtypes, devices or a smoothing that don't fit.
        IndexError: a target is no class.
        BackendError: `backend` can't run this call.
    """
    check_tensors("linear_cross_entropy", input=input, weight=weight, target=target)
    if reduction not in REDUCTIONS:
        raise ValueError(f"linear_cross_entropy: reduction is {reduction!r}, expected {', '.join(REDUCTIONS)}")
    settings = reduction, ignore_index, label_smoothing
    if not all(map(is_traceable, (input, weight, target))) or any_autocast_enabled():
        scores = F.linear(input, weight, bias)
        return stock_loss(scores.flatten(0, -2), target.flatten(), *settings)
    if input.dim() < 1 or input.shape[:-1] != target.shape:
        raise ValueError(
            f"linear_cross_entropy: target {list(target.shape)} must have the shape of input {list(input.shape)} "
            "without its last dimension"
        )
    rows = input if input.dim() == 2 else input.reshape(-1, input.shape[-1])
    loss = operation(rows, weight, bias, target.reshape(-1), *settings, backend=backend)
    return loss.reshape(target.shape) if reduction == "none" else loss


def stock_loss(scores, target, reduction, ignore_index, label_smoothing):
    return F.cross_entropy(
        scores, target, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )


def stock(input, weight, bias, target, *settings):
    return stock_loss(F.linear(input, weight, bias), target, *settings)


def check(input, weight, bias, target, reduction, ignore_index, label_smoothing):
    if weight.dim() != 2 or weight.shape[1] != input.shape[1]:
        raise RuntimeError(
            f"linear_cross_entropy: weight {list(weight.shape)} must be [classes, {input.shape[1]}] for rows of input "
            f"{list(input.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(f"linear_cross_entropy: bias must be [{weight.shape[0]}], got {list(bias.shape)}")
    if target.is_floating_point():
        raise RuntimeError(f"linear_cross_entropy: target is {target.dtype}, expected torch.int64 classes")
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"linear_cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}")
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype != input.dtype:
            raise RuntimeError(f"linear_cross_entropy: {name} is {tensor.dtype}, expected input's {input.dtype}")
    for name, tensor in (("weight", weight), ("bias", bias), ("target", target)):
        if tensor is not None and tensor.device != input.device:
            raise RuntimeError(f"linear_cross_entropy: {name} is on {tensor.device}, expected input's {input.device}")


def keeps(args, needs):
    return (True,) * 4, (False, True, True, True)


def flops(input, weight, bias, target, reduction, ignore_index, label_smoothing):
    return 2 * input[0] * weight[0] * weight[1]


operation = Operation(
    "linear_cross_entropy",
    "Tensor input, Tensor weight, Tensor? bias, Tensor target, str reduction, int ignore_index, float label_smoothing",
    ("loss", "grad_input", "grad_weight", "grad_bias"),
    allocate=cpu.allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
)
