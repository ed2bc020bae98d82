"""`lstm`: a stack of LSTM layers over whole sequences, padded or packed, in both directions."""

import functools

import torch
from torch import _VF

from nnzoo_fast.backends import Backend, wants_gradients
from nnzoo_fast.cuda_support import cuda_rows
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.lstm import cpu
from nnzoo_fast.ops.lstm.family import FAMILY
from nnzoo_fast.ops.lstm.reference import reference
from nnzoo_fast.recurrent import sequence
from nnzoo_fast.recurrent.check import check
from nnzoo_fast.recurrent.weights import per_direction
from nnzoo_fast.triton_support import triton_row

__all__ = ["lstm", "operation", "reference"]


def lstm(
    input: torch.Tensor,
    hx: tuple[torch.Tensor, torch.Tensor] | None,
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
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A stack of `num_layers` LSTM layers; D is 2 if `bidirectional`, else 1.

        i, f, o = sigmoid(W_i* x_t + W_h* h_{t-1} + b),  g = tanh(...),
        c_t = f c_{t-1} + i g,  h_t = W_hr (o tanh(c_t)), without W_hr if there is no projection.

    Source: Hochreiter & Schmidhuber, "Long short-term memory" (1997); projection: Sak et al. (2014).

    Args:
        input: [steps, batch, in_features], [batch, steps, in_features] if `batch_first`, or, with `batch_sizes`, the
            data of a PackedSequence, [rows, in_features].
        hx: h0 [num_layers * D, batch, out_features] and c0 [num_layers * D, batch, hidden]; None for zeros.
        weights: for each layer and each of its directions w_ih [4 * hidden, in_features], w_hh
            [4 * hidden, out_features], then b_ih and b_hh [4 * hidden] if `bias`, then w_hr [out_features, hidden] if
            out_features (proj_size) differs from hidden. The gates are stacked as i, f, g, o.
        dropout: probability of zeroing an element of the output of every layer but the last, if `train`.
        batch_sizes: int64 [steps] on the CPU, never growing: how many sequences are alive at each step.
        seed: int64 [1] for dropout's mask (see `nnzoo_fast.random`); drawn from torch's generator by default.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        output [steps, batch, D * out_features] (or as input: batch first, packed), h_n and c_n in the shapes of `hx`.

    Raises:
        ValueError: `dropout` beyond [0, 1], or `batch_first` with `batch_sizes`.
        RuntimeError: shapes, dtypes, devices or `batch_sizes` that don't fit together.
        BackendError: `backend` can't run this call.
    """
    weights = list(weights)
    settings = (bias, num_layers, dropout, train, bidirectional, batch_first, batch_sizes)
    # Under autocast torch's projecting LSTM lowers its products only, and returns h and c in different dtypes.
    projects = per_direction(len(weights), bias, num_layers * (2 if bidirectional else 1)) in (3, 5)
    return sequence.run(
        FAMILY, operation, _in_torch, input, hx or (None, None), weights, *settings, (), seed, backend, projects
    )


def _in_torch():
    return _VF.lstm


def _cannot_be_traced(call) -> bool:
    """torch's lstm has no batching rules or forward derivatives; compiled without its module, it can't be trained."""
    return call.batch_sizes is None and wants_gradients(call.input, *call.weights)


stock = functools.partial(sequence.stock, FAMILY, _in_torch, reference, _cannot_be_traced)

operation = Operation(
    "lstm",
    FAMILY.schema,
    FAMILY.outputs,
    visible=3,
    allocate=FAMILY.allocate,
    reference=reference,
    stock=stock,
    table=(
        Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),
        *cuda_rows("nnzoo_fast.ops.lstm.cuda", "steps"),
        triton_row("nnzoo_fast.ops.lstm.triton_kernels"),
    ),
    check=functools.partial(check, FAMILY),
    keeps=FAMILY.keeps,
    autocast="lower",
    flops=FAMILY.flops,
)
