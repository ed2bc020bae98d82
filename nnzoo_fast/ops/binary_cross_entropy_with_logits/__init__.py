"""`binary_cross_entropy_with_logits` of scores and probabilities."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from nnzoo_fast import elementwise_losses as losses
from nnzoo_fast._compat import any_autocast_enabled
from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.binary_cross_entropy_with_logits import cpu
from nnzoo_fast.ops.binary_cross_entropy_with_logits.reference import reference

__all__ = ["binary_cross_entropy_with_logits", "operation", "reference"]

NAME = "binary_cross_entropy_with_logits"


def binary_cross_entropy_with_logits(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    pos_weight: torch.Tensor | None = None,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """The cross entropy of sigmoid(input) and `target`. `torch.nn.functional.binary_cross_entropy_with_logits`.

    Args:
        input: scores [*].
        target: probabilities, like `input`.
        weight: a factor of each loss, broadcastable to `input`.
        pos_weight: a factor of the positive part, broadcastable to `input`.
        reduction: "none", "mean" or "sum".
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        A scalar, or like `input` without a reduction. As in torch, an infinite score whose loss would be 0 gives NaN.

    Raises:
        TypeError: an argument is no tensor.
        ValueError: `reduction` is unknown, or `target` differs from `input` in shape.
        RuntimeError: weights or devices that don't fit, or weights that require a gradient.
        BackendError: `backend` can't run this call.
    """
    call = (input, target, weight, pos_weight, reduction)
    if operation.goes_to_stock(call, backend):
        return stock(*call)
    check_tensors(NAME, input=input, target=target)
    losses.check_reduction(NAME, reduction)
    if not (is_traceable(input) and is_traceable(target)) or any_autocast_enabled():
        return stock(*call)
    return operation(*call, backend=backend, call=call)


def stock(input, target, weight, pos_weight, reduction):
    return F.binary_cross_entropy_with_logits(input, target, weight, reduction=reduction, pos_weight=pos_weight)


def check(input, target, weight, pos_weight, reduction):
    if target.shape != input.shape:
        raise ValueError(f"{NAME}: target is {list(target.shape)}, expected input's {list(input.shape)}")
    for name, factor in (("weight", weight), ("pos_weight", pos_weight)):
        if factor is not None and not broadcasts(factor.shape, input.shape):
            raise RuntimeError(
                f"{NAME}: {name} is {list(factor.shape)}, expected what broadcasts to {list(input.shape)}"
            )
        if factor is not None and factor.requires_grad and torch.is_grad_enabled():
            raise RuntimeError(f"{NAME}: {name} requires a gradient, expected one that is no variable, as in torch")
    losses.check_devices(NAME, input, target=target, weight=weight, pos_weight=pos_weight)


def broadcasts(shape, to) -> bool:
    pairs = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(size in (1, wanted) for size, wanted in pairs)


def allocate(input, target, weight, pos_weight, reduction, training):
    return losses.allocate(input, reduction)


def flops(input, target, weight, pos_weight, reduction):
    return 40 * math.prod(input)


operation = Operation(
    NAME,
    "Tensor input, Tensor target, Tensor? weight, Tensor? pos_weight, str reduction",
    ("loss",),
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=lambda args, needs: ((True,) * 4, (False,)),
    flops=flops,
    compiles=False,
)
