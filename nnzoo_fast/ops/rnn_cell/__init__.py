"""`rnn_cell`: one step of a simple RNN."""

import functools

import torch
from torch import _VF

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.rnn.family import FAMILY, NONLINEARITIES
from nnzoo_fast.ops.rnn_cell import cpu
from nnzoo_fast.ops.rnn_cell.reference import reference
from nnzoo_fast.recurrent import step

__all__ = ["rnn_cell", "operation", "reference"]


def rnn_cell(
    input: torch.Tensor,
    hx: torch.Tensor,
    w_ih: torch.Tensor,
    w_hh: torch.Tensor,
    b_ih: torch.Tensor | None = None,
    b_hh: torch.Tensor | None = None,
    nonlinearity: str = "tanh",
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """One step of a simple RNN: the next h. The formula stands at `nnzoo_fast.ops.rnn`.

    Args:
        input: [batch, in_features].
        hx: [batch, hidden].
        w_ih: [hidden, in_features].
        w_hh: [hidden, hidden].
        b_ih, b_hh: [hidden].
        nonlinearity: "tanh" or "relu".
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        h, [batch, hidden].

    Raises:
        ValueError: an unknown `nonlinearity`.
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    check_tensors("rnn_cell", hx=hx)
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(f"rnn_cell: nonlinearity is {nonlinearity!r}, expected one of {', '.join(NONLINEARITIES)}")
    return operation(input, hx, w_ih, w_hh, b_ih, b_hh, nonlinearity, backend=backend)


def _in_torch(input, hx, w_ih, w_hh, b_ih, b_hh, nonlinearity):
    function = _VF.rnn_tanh_cell if nonlinearity == "tanh" else _VF.rnn_relu_cell
    return function(input, hx, w_ih, w_hh, b_ih, b_hh)


def check(input, hx, w_ih, w_hh, b_ih, b_hh, *options):
    step.check(FAMILY, input, (hx,), w_ih, w_hh, b_ih, b_hh)


operation = Operation(
    "rnn_cell",
    "Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih, Tensor? b_hh, str nonlinearity",
    ("h", "gates"),
    allocate=functools.partial(step.allocate, FAMILY),
    reference=reference,
    stock=step.stock_by(_in_torch, reference, "lower"),
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=functools.partial(step.keeps, FAMILY),
    autocast="lower",
    flops=functools.partial(step.flops, FAMILY),
)
