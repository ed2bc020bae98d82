"""`dropout`: zeros drawn from counters, with a bias before and a residual behind, in one pass."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import STOCK_BACKEND, Backend, requested
from nnzoo_fast.front_door import EAGER, check_tensors, is_traceable, route
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.dropout import cpu
from nnzoo_fast.ops.dropout.reference import reference
from nnzoo_fast.random import new_seed

__all__ = ["dropout", "operation", "reference"]


def dropout(
    input: torch.Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    bias: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
    seed: torch.Tensor | None = None,
    backend: str | None = None,
) -> torch.Tensor:
    """dropout(input + bias) + residual. `torch.nn.functional.dropout`, the same distribution but not the same masks.

    Element i of the mask, in row-major order, is word i of a Philox stream: it needs no memory, backward makes it
    again, and no number of threads changes it. Where stock torch runs instead, as it does for few values
    and under torch.compile, the mask is torch's own. `torch.manual_seed` repeats either.

    Args:
        input: any shape.
        p: the probability of an element to become 0; the others are divided by 1 - p.
        training: False drops nothing.
        bias: [input's last size].
        residual: like `input`.
        seed: int64 [1], the stream's key; by default drawn from torch's default generator.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        As `input`.

    Raises:
        TypeError: `input` or `seed` is no tensor.
        ValueError: `p` is no probability.
        RuntimeError: `p` is NaN; or shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    check_tensors("dropout", input=input, **({} if seed is None else {"seed": seed}))
    if not 0.0 <= p <= 1.0:
        # torch's Python refuses what lies outside, its operator what lies nowhere
        kind = RuntimeError if math.isnan(p) else ValueError
        raise kind(f"dropout: p has to be between 0 and 1, but got {p}")
    if is_traceable(input) and not (bias is None and residual is None):
        check_operands(input, bias, residual)
    if seed is None or not training or p == 0:
        if not training or p == 0 or not _has_own_masks(input, p, bias, residual, backend):
            output = F.dropout(input if bias is None else input + bias, p, training)
            return output if residual is None else output + residual
        seed = new_seed(input.device)
    return operation(input, float(p), seed, bias, residual, backend=backend)


def _has_own_masks(input, p, bias, residual, backend) -> bool:
    """Whether a call without a seed is one for our masks. That depends on the call alone, not on those before it."""
    name = backend or requested("dropout")
    tensors = [tensor for tensor in (input, bias, residual) if tensor is not None]
    if name == STOCK_BACKEND or route(tensors) is not EAGER:
        return False
    return name is not None or operation.choose((input, p, None, bias, residual)) is not None


def check_operands(input, bias, residual):
    expected = {"bias": (bias, input.shape[-1:]), "residual": (residual, input.shape)}
    for name, (tensor, shape) in expected.items():
        if tensor is None:
            continue
        check_tensors("dropout", **{name: tensor})
        if tensor.shape != shape:
            raise RuntimeError(f"dropout: {name} is {list(tensor.shape)}, expected {list(shape)}")
        if tensor.dtype != input.dtype:
            raise RuntimeError(f"dropout: {name} is {tensor.dtype}, expected input's {input.dtype}")
        if tensor.device != input.device:
            raise RuntimeError(f"dropout: {name} is on {tensor.device}, expected input's {input.device}")


def check(input, p, seed, bias, residual):
    if seed.dtype != torch.int64 or seed.numel() != 1:
        raise RuntimeError(f"dropout: seed is {seed.dtype} {list(seed.shape)}, expected torch.int64 [1]")


def allocate(input, p, seed, bias, residual, training):
    return (input.new_empty(input.shape),)


def keeps(args, needs):
    return (False, True, False, False), (False,)


def flops(input, p, seed, bias, residual):
    return 40 * math.prod(input)


operation = Operation(
    "dropout",
    "Tensor input, float p, Tensor seed, Tensor? bias, Tensor? residual",
    ("output",),
    allocate=allocate,
    reference=reference,
    stock=reference,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
    compiles=False,
)
