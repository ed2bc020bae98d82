"""`kl_div`: the Kullback-Leibler divergence of distributions from those whose logarithms are given."""

from __future__ import annotations

import math

import torch

from nnzoo_fast import elementwise_losses as losses
from nnzoo_fast._compat import any_autocast_enabled, reduction_code
from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.kl_div import cpu
from nnzoo_fast.ops.kl_div.reference import reference

__all__ = ["kl_div", "operation", "reference"]


def kl_div(
    input: torch.Tensor,
    target: torch.Tensor,
    reduction: str = "mean",
    log_target: bool = False,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """target (log(target) - input). `torch.nn.functional.kl_div`.

    Args:
        input: logarithms of probabilities [*].
        target: probabilities, or their logarithms with `log_target`; broadcasts with `input`.
        reduction: "none", "sum", "mean" over all elements, or "batchmean", the sum divided by input's first size.
        log_target: whether `target` holds logarithms.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        A scalar, or like `input` without a reduction.

    Raises:
        TypeError: an argument is no tensor.
        ValueError: `reduction` is unknown.
        RuntimeError: shapes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    call = (input, target, "sum" if reduction == "batchmean" else reduction, log_target)
    to_stock = operation.goes_to_stock(call, backend)
    if not to_stock:
        check_tensors("kl_div", input=input, target=target)
        losses.check_reduction("kl_div", reduction, (*losses.REDUCTIONS, "batchmean"))
        to_stock = not (is_traceable(input) and is_traceable(target)) or any_autocast_enabled()
    loss = stock(*call) if to_stock else operation(*call, backend=backend, call=call)
    return loss / input.size()[0] if reduction == "batchmean" and input.dim() != 0 else loss


def stock(input, target, reduction, log_target):
    return torch.kl_div(input, target, reduction_code(reduction), log_target=log_target)


def check(input, target, reduction, log_target):
    try:
        torch.broadcast_shapes(input.shape, target.shape)
    except RuntimeError:
        shapes = list(target.shape), list(input.shape)
        raise RuntimeError(f"kl_div: target is {shapes[0]}, expected what broadcasts with {shapes[1]}") from None
    losses.check_devices("kl_div", input, target=target)


def allocate(input, target, reduction, log_target, training):
    return losses.allocate(input, reduction)


def flops(input, target, reduction, log_target):
    return 30 * math.prod(input)


operation = Operation(
    "kl_div",
    "Tensor input, Tensor target, str reduction, bool log_target",
    ("loss",),
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=lambda args, needs: ((needs[1], True), (False,)),
    flops=flops,
    compiles=False,
)
