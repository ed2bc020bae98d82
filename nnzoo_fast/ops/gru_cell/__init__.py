"""`gru_cell`: one step of a GRU."""

import functools

import torch
from torch import _VF

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.gru.family import FAMILY
from nnzoo_fast.ops.gru_cell import cpu
from nnzoo_fast.ops.gru_cell.reference import reference
from nnzoo_fast.recurrent import step
from nnzoo_fast.recurrent.sequence import is_autocast

__all__ = ["gru_cell", "operation", "reference"]


def gru_cell(
    input: torch.Tensor,
    hx: torch.Tensor,
    w_ih: torch.Tensor,
    w_hh: torch.Tensor,
    b_ih: torch.Tensor | None = None,
    b_hh: torch.Tensor | None = None,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """One step of a GRU: the next h. The formulas stand at `nnzoo_fast.ops.gru`.

    Args:
        input: [batch, in_features].
        hx: [batch, hidden].
        w_ih: [3 * hidden, in_features], the gates stacked as r, z, n.
        w_hh: [3 * hidden, hidden].
        b_ih, b_hh: [3 * hidden].
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        h, [batch, hidden].

    Raises:
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    check_tensors("gru_cell", hx=hx)
    if backend is None and is_autocast(input):
        # torch lowers the two products only, and returns what the dtype of h promotes them to.
        return operation.stock(input, hx, w_ih, w_hh, b_ih, b_hh)
    return operation(input, hx, w_ih, w_hh, b_ih, b_hh, backend=backend)


def check(input, hx, w_ih, w_hh, b_ih, b_hh, *options):
    step.check(FAMILY, input, (hx,), w_ih, w_hh, b_ih, b_hh)


operation = Operation(
    "gru_cell",
    "Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih, Tensor? b_hh",
    ("h", "gates"),
    allocate=functools.partial(step.allocate, FAMILY),
    reference=reference,
    stock=step.stock_by(_VF.gru_cell, reference),
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=functools.partial(step.keeps, FAMILY),
    flops=functools.partial(step.flops, FAMILY),
)
