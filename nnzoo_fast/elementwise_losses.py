"""Calls of the kernels of `csrc/ops/elementwise_loss`, and what the operations on them have in common."""

from __future__ import annotations

import math

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports, wants_gradients

REDUCTIONS = ("none", "mean", "sum")
KINDS = ("binary_cross_entropy", "kl_div", "kl_div_of_logarithms")
"""In the order that the kernels know."""

SMALL, SMALL_TRAINING = 2**13, 2**15
"""Fewer values take stock torch less time than finding the kernel for them."""


def check_reduction(name: str, reduction: str, known: tuple[str, ...] = REDUCTIONS) -> None:
    """Raises ValueError for what is no reduction."""
    if reduction not in known:
        raise ValueError(f"{name}: reduction is {reduction!r}, expected {', '.join(known)}")


def check_devices(name: str, input: torch.Tensor, **tensors: torch.Tensor | None) -> None:
    """Raises RuntimeError where something is elsewhere than `input`."""
    for key, tensor in tensors.items():
        if tensor is not None and tensor.device != input.device:
            raise RuntimeError(f"{name}: {key} is on {tensor.device}, expected input's {input.device}")


def reduced(losses: torch.Tensor, reduction: str) -> torch.Tensor:
    return {"none": lambda: losses, "mean": losses.mean, "sum": losses.sum}[reduction]()


def supports(input: torch.Tensor, *others: torch.Tensor | None) -> Verdict:
    wrong = next((tensor for tensor in others if tensor is not None and tensor.dtype != input.dtype), None)
    if wrong is not None:
        return False, f"{wrong.dtype} beside input's {input.dtype}: stock torch promotes"
    return cpu_supports(input, "elementwise_loss_forward")


def pays(input: torch.Tensor, *others: torch.Tensor) -> Verdict:
    least = SMALL_TRAINING if wants_gradients(input, *others) else SMALL
    if input.numel() < least:
        return False, f"fewer than {least} values: the call itself takes longer"
    if not all(tensor.is_contiguous() for tensor in (input, *others)):
        return False, "what is not contiguous would have to be copied first"
    return True, "one pass in place of an operator for each step"


def allocate(input: torch.Tensor, reduction: str) -> tuple[torch.Tensor]:
    return (input.new_empty(input.shape if reduction == "none" else ()),)


class Factor:
    """A factor of every element that broadcasts to `input`: null, a value a column, or a value an element."""

    def __init__(self, factor: torch.Tensor | None, input: torch.Tensor):
        self.of_column = factor is not None and input.dim() > 1 and factor.numel() == factor.shape[-1:].numel()
        if factor is not None:
            shape = input.shape[-1:] if self.of_column else input.shape
            factor = factor.reshape(factor.shape[-1:]) if self.of_column else factor
            factor = factor.expand(shape).contiguous()
        self.tensor = factor


def arguments(kind: str, input, target, weight, rise, reduction: str, reads_input: bool = True) -> tuple[tuple, list]:
    """What both kernels take behind their own tensors, and the tensors that must live until they return."""
    weight, rise = Factor(weight, input), Factor(rise, input)
    by_rows = weight.of_column or rise.of_column
    count = input.numel()
    columns = input.shape[-1] if by_rows else count
    alive = [input.contiguous() if reads_input else None, target.contiguous(), weight.tensor, rise.tensor]
    numbers = (
        *map(address, alive),
        weight.of_column,
        rise.of_column,
        count // max(columns, 1),
        columns,
        KINDS.index(kind),
        reduction != "none",
        (1 / count if count else math.nan) if reduction == "mean" else 1.0,
        _extension.DTYPE_CODES[target.dtype],
        torch.get_num_threads(),
    )
    return numbers, alive


def forward(kind: str, input, target, weight, rise, reduction: str) -> tuple[torch.Tensor]:
    (loss,) = allocate(input, reduction)
    numbers, _alive = arguments(kind, input, target, weight, rise, reduction)
    _extension._C.elementwise_loss_forward(loss.data_ptr(), *numbers)
    return (loss,)


def backward(kind: str, grad, input, target, weight, rise, reduction: str, reads_input: bool = True) -> torch.Tensor:
    """The gradient of `input`."""
    grad, grad_input = grad.contiguous(), target.new_empty(input.shape)
    numbers, _alive = arguments(kind, input, target, weight, rise, reduction, reads_input)
    _extension._C.elementwise_loss_backward(grad.data_ptr(), grad_input.data_ptr(), *numbers)
    return grad_input
