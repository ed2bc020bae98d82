"""`lstm_cell`: one step of an LSTM."""

import torch
from torch import _VF

from nnzoo_fast.backends import Backend
from nnzoo_fast.cuda_support import cuda_rows
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.lstm.dtypes import compute_dtype
from nnzoo_fast.ops.lstm_cell import cpu
from nnzoo_fast.ops.lstm_cell.reference import reference
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
    if backend is None and is_traceable(input) and not input.is_meta and torch.is_autocast_enabled(input.device.type):
        # torch lowers the two products only, and returns what the dtype of c promotes them to.
        return _VF.lstm_cell(input, hx, w_ih, w_hh, b_ih, b_hh)
    return operation(input, *hx, w_ih, w_hh, b_ih, b_hh, backend=backend)


def stock(input, hx, cx, w_ih, w_hh, b_ih, b_hh):
    return _VF.lstm_cell(input, (hx, cx), w_ih, w_hh, b_ih, b_hh)


def check(input, hx, cx, w_ih, w_hh, b_ih, b_hh):
    if input.dim() != 2:
        raise RuntimeError(f"lstm_cell: input must be [batch, in_features], got {list(input.shape)}")
    if hx.dim() != 2:
        raise RuntimeError(f"lstm_cell: hx[0] must be [batch, hidden], got {list(hx.shape)}")
    batch, features = input.shape
    hidden = hx.shape[1]
    named = {
        "hx[0]": (hx, (batch, hidden)),
        "hx[1]": (cx, (batch, hidden)),
        "w_ih": (w_ih, (4 * hidden, features)),
        "w_hh": (w_hh, (4 * hidden, hidden)),
        "b_ih": (b_ih, (4 * hidden,)),
        "b_hh": (b_hh, (4 * hidden,)),
    }
    for name, (tensor, shape) in named.items():
        if tensor is None:
            continue
        if tensor.shape != shape:
            raise RuntimeError(f"lstm_cell: {name} must be {list(shape)}, got {list(tensor.shape)}")
        if tensor.dtype != input.dtype:
            raise RuntimeError(f"lstm_cell: {name} is {tensor.dtype}, expected input's {input.dtype}")
        if tensor.device != input.device:
            raise RuntimeError(f"lstm_cell: {name} is on {tensor.device}, expected input's {input.device}")


def allocate(input, hx, cx, w_ih, w_hh, b_ih, b_hh, training):
    batch, hidden = hx.shape
    h, c = input.new_empty((batch, hidden)), input.new_empty((batch, hidden))
    if not training:
        return h, c, input.new_empty(0), input.new_empty(0)
    kept = compute_dtype(input.dtype)
    return h, c, input.new_empty((batch, 4 * hidden), dtype=kept), input.new_empty((batch, hidden), dtype=kept)


def keeps(args, needs):
    return (True,) * len(needs), (False, False, True, True)


def flops(input, hx, cx, w_ih, w_hh, b_ih, b_hh):
    return 2 * input[0] * w_ih[0] * (w_ih[1] + w_hh[1])


operation = Operation(
    "lstm_cell",
    "Tensor input, Tensor hx, Tensor cx, Tensor w_ih, Tensor w_hh, Tensor? b_ih, Tensor? b_hh",
    ("h", "c", "preactivations", "cells"),
    visible=2,
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(
        Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),
        *cuda_rows("nnzoo_fast.ops.lstm_cell.cuda"),
        triton_row("nnzoo_fast.ops.lstm_cell.triton_kernels"),
    ),
    check=check,
    keeps=keeps,
    flops=flops,
)
