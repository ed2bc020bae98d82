"""`add_norm`: residual, dropout and normalisation in one visit of each row; the sum is a result too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import REFERENCE_BACKEND, STOCK_BACKEND, Backend, requested
from nnzoo_fast.front_door import OPS, STOCK, check_tensors, route
from nnzoo_fast.norms import rows
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.add_norm import cpu
from nnzoo_fast.ops.add_norm.reference import EPS, NORMS, formula, reference
from nnzoo_fast.random import new_seed

__all__ = ["add_norm", "operation", "reference"]


def add_norm(
    input: torch.Tensor,
    residual: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float | None = None,
    dropout_p: float = 0.0,
    norm: str = "layer",
    *,
    backend: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """norm(sum) and sum = residual + dropout(input).

    Args:
        input: [*, *normalized_shape].
        residual: as input, of its shape and dtype.
        normalized_shape: the last dimensions, over which mean and variance are taken.
        weight: [*normalized_shape], of input's dtype; float32 too for a 16-bit input.
        bias: as weight; of a layer norm only.
        eps: added to the variance or to the mean of squares; by default 1e-5, for "rms" torch's own.
        dropout_p: the probability to drop an element of input. Element i in row-major order is kept or dropped by word
            i of a Philox stream whose seed comes from torch's default generator; where stock torch runs, the mask is
            torch's.
        norm: "layer" or "rms".
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        The normalised sum and the sum, as input, contiguous.

    Raises:
        TypeError: `input` or `residual` is no tensor.
        ValueError: `dropout_p` is no probability, `norm` is another.
        RuntimeError: shapes, dtypes or devices that don't fit together, a bias for "rms".
        BackendError: `backend` can't run this call.
    """
    call = (input, residual, list(normalized_shape), weight, bias, eps, dropout_p, norm)
    if operation.goes_to_stock(call, backend):
        return stock(*call)
    check_tensors("add_norm", input=input, residual=residual)
    seed = new_seed(input.device) if dropout_p > 0 and _takes_a_seed(call, backend) else None
    return operation(*call, seed, backend=backend, call=call)


def _takes_a_seed(call: tuple, backend: str | None) -> bool:
    """Whether something else than stock torch will run, whose mask is then all that is drawn."""
    name = backend or requested(operation.name)
    if name in (STOCK_BACKEND, REFERENCE_BACKEND):
        return name == REFERENCE_BACKEND
    way = route([tensor for tensor in (*call[:2], *call[3:5]) if tensor is not None])
    if way is STOCK or (way is OPS and name is None):
        return False
    return operation.choose((*call, None), name) is not None


def stock(input, residual, normalized_shape, weight, bias, eps, dropout_p, norm, seed=None):
    sum = residual + (F.dropout(input, dropout_p) if dropout_p else input)
    if norm == "rms":
        return F.rms_norm(sum, normalized_shape, weight, eps), sum
    return F.layer_norm(sum, normalized_shape, weight, bias, EPS if eps is None else eps), sum


def check(input, residual, normalized_shape, weight, bias, eps, dropout_p, norm, seed):
    if norm not in NORMS:
        raise ValueError(f"add_norm: norm is {norm!r}, expected one of {', '.join(NORMS)}")
    if not 0 <= dropout_p <= 1:
        raise ValueError(f"add_norm: dropout_p is {dropout_p}, expected a probability")
    if residual.shape != input.shape or residual.dtype != input.dtype or residual.device != input.device:
        found = ", ".join(f"{list(t.shape)} of {t.dtype} on {t.device}" for t in (residual, input))
        raise RuntimeError(f"add_norm: residual and input are {found}, expected the same")
    if norm == "rms" and bias is not None:
        raise RuntimeError(f"add_norm: bias is {list(bias.shape)}, expected None for norm 'rms'")
    rows.check("add_norm", input, normalized_shape, weight=weight, bias=bias)
    rows.check_dtypes("add_norm", input, weight=weight, bias=bias)


def allocate(input, residual, normalized_shape, weight, bias, eps, dropout_p, norm, seed, training):
    def statistics(wanted: bool):
        return rows.statistics_like(input, normalized_shape) if training and wanted else None

    return input.new_empty(input.shape), input.new_empty(input.shape), statistics(norm == "layer"), statistics(True)


def keeps(args, needs):
    return (False, False, needs[0] or needs[1], False, True), (False, True, True, True)


def flops(input, residual, normalized_shape, weight, bias, eps, dropout_p, norm, seed):
    count = 1
    for size in input:
        count *= size
    return (5 if norm == "rms" else 9) * count


operation = Operation(
    "add_norm",
    "Tensor input, Tensor residual, SymInt[] normalized_shape, Tensor? weight, Tensor? bias, float? eps, "
    "float dropout_p, str norm, Tensor? seed",
    ("output", "sum", "mean", "rstd"),
    visible=2,
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    formula=formula,
    materialize=False,
    flops=flops,
    compiles=False,
)
