"""`group_norm`: groups of channels normalised by their own mean and variance."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend, only_on_request, wants_gradients
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.norms import channels
from nnzoo_fast.norms.parameters import sums_like
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.group_norm import cpu
from nnzoo_fast.ops.group_norm.reference import reference

__all__ = ["group_norm", "operation", "reference"]


def group_norm(
    input: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """(input - mean) / sqrt(variance + eps) * weight + bias by groups. `torch.nn.functional.group_norm`.

    Args:
        input: [N, C, *], contiguous or channels-last.
        num_groups: the groups of adjacent channels; divides C.
        weight, bias: [C], of input's dtype; float32 too for a 16-bit input.
        eps: added to the variance.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        As input, in its memory format; contiguous where stock torch runs a call whose input wants no gradient.

    Raises:
        TypeError: `input` is no tensor.
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.

    Source: Wu, He, "Group normalization", 2018.
    """
    check_tensors("group_norm", input=input)
    return operation(input, num_groups, weight, bias, eps, backend=backend)


def stock(input, num_groups, weight, bias, eps):
    """`F.group_norm`, away from two faults of its backward in torch 2.13.

    That of a channels-last input writes the gradient even of one that needs none, which ends the process. With a bias
    and no weight it asks the weight for its device.
    """
    plain = all(tensor is None or is_traceable(tensor) for tensor in (input, weight, bias))
    if plain and wants_gradients(weight, bias):
        input = input if input.requires_grad else input.contiguous()
        weight = torch.ones_like(bias) if weight is None else weight
    return F.group_norm(input, num_groups, weight, bias, eps)


def check(input, num_groups, weight, bias, eps):
    channels.check_channels("group_norm", input, weight=weight, bias=bias)
    if num_groups <= 0 or input.shape[1] % num_groups:
        raise RuntimeError(f"group_norm: num_groups is {num_groups}, expected a divisor of {input.shape[1]} channels")


def allocate(input, num_groups, weight, bias, eps, training):
    sets = (input.shape[0], num_groups)
    mean, rstd = (sums_like(input, *sets) if training else None for _ in range(2))
    return channels.empty_like(input), mean, rstd


def keeps(args, needs):
    return (True, needs[0], False), (False, True, True)


def flops(input, num_groups, weight, bias, eps):
    count = 1
    for size in input:
        count *= size
    return 8 * count


operation = Operation(
    "group_norm",
    "Tensor input, int num_groups, Tensor? weight, Tensor? bias, float eps",
    ("output", "mean", "rstd"),
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(
        Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),
        Backend("cpu_two_sweeps", cpu.supports, cpu.forward_in_two_sweeps, cpu.backward, only_on_request),
    ),
    check=check,
    keeps=keeps,
    flops=flops,
    compiles=False,
)
