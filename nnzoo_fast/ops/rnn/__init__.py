"""`rnn`: a stack of RNN layers over whole sequences, padded or packed, in both directions."""

import functools

import torch
from torch import _VF

from nnzoo_fast.backends import Backend
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.rnn import cpu
from nnzoo_fast.ops.rnn.family import FAMILY, NONLINEARITIES
from nnzoo_fast.ops.rnn.reference import reference
from nnzoo_fast.recurrent import sequence
from nnzoo_fast.recurrent.check import check

__all__ = ["rnn", "operation", "reference"]


def rnn(
    input: torch.Tensor,
    hx: torch.Tensor | None,
    weights: list[torch.Tensor],
    bias: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    batch_sizes: torch.Tensor | None = None,
    nonlinearity: str = "tanh",
    *,
    seed: torch.Tensor | None = None,
    backend: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A stack of `num_layers` RNN layers; D is 2 if `bidirectional`, else 1.

        h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu of the same.

    Source: Elman, "Finding structure in time" (1990).

    Args:
        input: [steps, batch, in_features], [batch, steps, in_features] if `batch_first`, or, with `batch_sizes`, the
            data of a PackedSequence, [rows, in_features].
        hx: h0 [num_layers * D, batch, hidden]; None for zeros.
        weights: for each layer and each of its directions w_ih [hidden, in_features], w_hh [hidden, hidden], then
            b_ih and b_hh [hidden] if `bias`.
        dropout: probability of zeroing an element of the output of every layer but the last, if `train`.
        batch_sizes: int64 [steps] on the CPU, never growing: how many sequences are alive at each step.
        nonlinearity: "tanh" or "relu".
        seed: int64 [1] for dropout's mask (see `nnzoo_fast.random`); drawn from torch's generator by default.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        output [steps, batch, D * hidden] (or as input: batch first, packed) and h_n in the shape of `hx`.

    Raises:
        ValueError: `dropout` beyond [0, 1], an unknown `nonlinearity`, or `batch_first` with `batch_sizes`.
        RuntimeError: shapes, dtypes, devices or `batch_sizes` that don't fit together.
        BackendError: `backend` can't run this call.
    """
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(f"rnn: nonlinearity is {nonlinearity!r}, expected one of {', '.join(NONLINEARITIES)}")
    settings = (bias, num_layers, dropout, train, bidirectional, batch_first, batch_sizes)
    return sequence.run(
        FAMILY, operation, _in_torch, input, (hx,), weights, *settings, (nonlinearity,), seed, backend, False
    )


def _in_torch(nonlinearity):
    return _VF.rnn_tanh if nonlinearity == "tanh" else _VF.rnn_relu


def _cannot_be_traced(call) -> bool:
    return True


stock = functools.partial(sequence.stock, FAMILY, _in_torch, reference, _cannot_be_traced)

operation = Operation(
    "rnn",
    FAMILY.schema + ", str nonlinearity",
    FAMILY.outputs,
    visible=2,
    allocate=FAMILY.allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=functools.partial(check, FAMILY),
    keeps=FAMILY.keeps,
    autocast="lower",
    flops=FAMILY.flops,
)
