"""`gru`: a stack of GRU layers over whole sequences, padded or packed, in both directions."""

import functools

import torch
from torch import _VF

from nnzoo_fast.backends import Backend
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.gru import cpu
from nnzoo_fast.ops.gru.family import FAMILY
from nnzoo_fast.ops.gru.reference import reference
from nnzoo_fast.recurrent import sequence
from nnzoo_fast.recurrent.check import check

__all__ = ["gru", "operation", "reference"]


def gru(
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
    *,
    seed: torch.Tensor | None = None,
    backend: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A stack of `num_layers` GRU layers; D is 2 if `bidirectional`, else 1.

        r, z = sigmoid(W_i* x_t + b_i* + W_h* h_{t-1} + b_h*),
        n = tanh(W_in x_t + b_in + r (W_hn h_{t-1} + b_hn)),  h_t = (1 - z) n + z h_{t-1}.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014), with r after the product.

    Args:
        input: [steps, batch, in_features], [batch, steps, in_features] if `batch_first`, or, with `batch_sizes`, the
            data of a PackedSequence, [rows, in_features].
        hx: h0 [num_layers * D, batch, hidden]; None for zeros.
        weights: for each layer and each of its directions w_ih [3 * hidden, in_features], w_hh [3 * hidden, hidden],
            then b_ih and b_hh [3 * hidden] if `bias`. The gates are stacked as r, z, n.
        dropout: probability of zeroing an element of the output of every layer but the last, if `train`.
        batch_sizes: int64 [steps] on the CPU, never growing: how many sequences are alive at each step.
        seed: int64 [1] for dropout's mask (see `nnzoo_fast.random`); drawn from torch's generator by default.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        output [steps, batch, D * hidden] (or as input: batch first, packed) and h_n in the shape of `hx`.

    Raises:
        ValueError: `dropout` beyond [0, 1], or `batch_first` with `batch_sizes`.
        RuntimeError: shapes, dtypes, devices or `batch_sizes` that don't fit together.
        BackendError: `backend` can't run this call.
    """
    settings = (bias, num_layers, dropout, train, bidirectional, batch_first, batch_sizes)
    # Under autocast torch's GRU lowers its products only, and returns what the dtype of h promotes them to.
    return sequence.run(FAMILY, operation, _in_torch, input, (hx,), weights, *settings, (), seed, backend, True)


def _in_torch():
    return _VF.gru


def _cannot_be_traced(call) -> bool:
    return True


stock = functools.partial(sequence.stock, FAMILY, _in_torch, reference, _cannot_be_traced)

operation = Operation(
    "gru",
    FAMILY.schema,
    FAMILY.outputs,
    visible=2,
    allocate=FAMILY.allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=functools.partial(check, FAMILY),
    keeps=FAMILY.keeps,
    flops=FAMILY.flops,
)
