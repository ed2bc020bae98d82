"""`lstm_cell`: one step of an LSTM."""

import torch
from torch import _VF

from nnzoo_fast.backends import Backend
from nnzoo_fast.cuda_support import cuda_rows
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.lstm_cell import cpu, step
from nnzoo_fast.ops.lstm_cell.reference import reference
from nnzoo_fast.recurrent.sequence import is_autocast
from nnzoo_fast.recurrent.step import stock_by
from nnzoo_fast.triton_support import triton_row

__all__ = ["lstm_cell", "operation", "reference"]


def lstm_cell(
    input: torch.Tensor,
    hx: tuple[torch.Tensor, torch.Tensor],
    w_ih: torch.Tensor,
    w_hh: torch.Tensor,
    b_ih: torch.Tensor | None = None,
    b_hh: torch.Tensor | None = None,
    *,
    backend: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of an LSTM: the next h and c. The formulas stand at `nnzoo_fast.ops.lstm`.

    Args:
        input: [batch, in_features].
        hx: h and c, each [batch, hidden].
        w_ih: [4 * hidden, in_features], the gates stacked as i, f, g, o.
        w_hh: [4 * hidden, hidden].
        b_ih, b_hh: [4 * hidden].
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        h and c, each [batch, hidden].

    Raises:
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    check_tensors("lstm_cell", hx=hx[0], cx=hx[1])
    # torch takes a c of any dtype, and under autocast lowers the two products only: what it returns has the dtype to
    # which the dtype of c promotes the gates.
    if backend is None and (is_autocast(input) or _is_of_another_dtype(hx[1], input)):
        return operation.stock(input, *hx, w_ih, w_hh, b_ih, b_hh)
    return operation(input, *hx, w_ih, w_hh, b_ih, b_hh, backend=backend)


def _is_of_another_dtype(cx, input) -> bool:
    return is_traceable(cx) and is_traceable(input) and cx.dtype != input.dtype


def _in_torch(input, hx, cx, *weights):
    return _VF.lstm_cell(input, (hx, cx), *weights)


def check(input, hx, cx, w_ih, w_hh, b_ih, b_hh):
    step.check(input, (hx, cx), w_ih, w_hh, b_ih, b_hh)


operation = Operation(
    "lstm_cell",
    "Tensor input, Tensor hx, Tensor cx, Tensor w_ih, Tensor w_hh, Tensor? b_ih, Tensor? b_hh",
    ("h", "c", "gates", "cells"),
    visible=2,
    allocate=step.allocate,
    reference=reference,
    stock=stock_by(_in_torch, reference),
    table=(
        Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),
        *cuda_rows("nnzoo_fast.ops.lstm_cell.cuda"),
        triton_row("nnzoo_fast.ops.lstm_cell.triton_kernels"),
    ),
    check=check,
    keeps=step.keeps,
    flops=step.flops,
)
