"""`lstm`: a stack of LSTM layers over whole sequences, padded or packed, in both directions."""

import math

import torch
from torch import _VF
from torch.compiler import is_compiling

from nnzoo_fast import _compat
from nnzoo_fast.backends import Backend, wants_gradients
from nnzoo_fast.cuda_support import cuda_rows
from nnzoo_fast.front_door import STOCK, is_traceable, route
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.lstm import cpu
from nnzoo_fast.ops.lstm.check import check, check_count
from nnzoo_fast.ops.lstm.dtypes import compute_dtype
from nnzoo_fast.ops.lstm.reference import reference, zero_state
from nnzoo_fast.ops.lstm.weights import group, per_direction
from nnzoo_fast.random import keep_mask, new_seed
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
    if not 0 <= dropout <= 1:
        raise ValueError(f"lstm: dropout is {dropout}, expected a probability in [0, 1]")
    if batch_first and batch_sizes is not None:
        raise ValueError("lstm: batch_first is meaningless for packed input, which has batch_sizes")
    if is_traceable(input) and input.dim() != (3 if batch_sizes is None else 2):
        expected = "[steps, batch, in_features]" if batch_sizes is None else "[rows, in_features], being packed"
        raise RuntimeError(f"lstm: input must be {expected}, got {list(input.shape)}")
    weights = list(weights)
    count = num_layers * (2 if bidirectional else 1)
    check_count(weights, bias, num_layers, bidirectional)
    h0, c0 = hx or (None, None)
    if batch_sizes is not None and h0 is None:
        h0, c0 = zero_state(input, group(weights, bias, count)[0], count, batch_sizes[0])
    input = input.transpose(0, 1) if batch_first else input
    drops = train and dropout > 0 and num_layers > 1
    settings = (bias, num_layers, float(dropout), bidirectional)
    draws = drops and seed is None
    left_to_torch = _autocast_promotes(input, weights, bias, count) or (draws and _is_watched(input, h0, c0, *weights))
    if backend is None and left_to_torch:
        output, h_n, c_n = _torch_lstm(input, h0, c0, weights, batch_sizes, *settings, train)
    else:
        seed = new_seed(input.device) if draws else seed if drops else None
        output, h_n, c_n = operation(input, h0, c0, weights, batch_sizes, seed, *settings, backend=backend)
    return output.transpose(0, 1) if batch_first else output, h_n, c_n


def _is_watched(*tensors) -> bool:
    """Whether a functorch transform or a tracer watches: a seed drawn now would be wrong or become a constant."""
    return route([tensor for tensor in tensors if tensor is not None]) is STOCK


def _autocast_promotes(input, weights, bias, count) -> bool:
    """Under autocast torch's projecting LSTM lowers its products only, and returns h and c in different dtypes."""
    if per_direction(len(weights), bias, count) in (2, 4) or not is_traceable(input) or input.is_meta:
        return False
    return torch.is_autocast_enabled(input.device.type)


def _torch_lstm(input, h0, c0, weights, batch_sizes, bias, num_layers, dropout, bidirectional, train):
    if h0 is None:
        count = num_layers * (2 if bidirectional else 1)
        h0, c0 = zero_state(input, group(weights, bias, count)[0], count, input.shape[1])
    settings = (bias, num_layers, dropout, train, bidirectional)
    if batch_sizes is None:
        return _VF.lstm(input, (h0, c0), weights, *settings, False)
    return _VF.lstm(input, batch_sizes, (h0, c0), weights, *settings)


def stock(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional):
    args = (input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional)
    if _torch_lacks_lstm(input, weights, batch_sizes):
        return reference(*args)
    if seed is None:
        return _torch_lstm(*args[:5], *args[6:], False)
    return _stock_with_seed(*args)


def _torch_lacks_lstm(input, weights, batch_sizes) -> bool:
    """torch's lstm has no batching rules or forward derivatives; compiled without its module, it can't be trained."""
    if is_compiling():
        return batch_sizes is None and wants_gradients(input, *weights)
    return _compat.transformed()


def _stock_with_seed(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional):
    """torch's operators layer by layer, with our mask in between."""
    count = 2 if bidirectional else 1
    each = len(weights) // num_layers
    out_features = group(weights, bias, num_layers * count)[0].out_features
    masks = keep_mask(seed, (num_layers - 1, *input.shape[:-1], count * out_features), dropout)
    scale = 0.0 if dropout == 1 else 1 / (1 - dropout)
    output, states = input, []
    for layer in range(num_layers):
        if layer > 0:
            output = torch.where(masks[layer - 1], output * scale, torch.zeros_like(output))
        state = (None, None) if h0 is None else (h0[layer * count :][:count], c0[layer * count :][:count])
        own = weights[layer * each : (layer + 1) * each]
        output, *state = _torch_lstm(output, *state, own, batch_sizes, bias, 1, 0.0, bidirectional, False)
        states.append(state)
    h_n, c_n = (torch.cat(parts) for parts in zip(*states, strict=True))
    return output, h_n, c_n


def allocate(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional, training):
    count = 2 if bidirectional else 1
    first = group(weights, bias, num_layers * count)[0]
    hidden, features = first.hidden_size, count * first.out_features
    rows = tuple(input.shape[:-1])
    batch = input.shape[1] if h0 is None else h0.shape[1]
    directions = num_layers * count
    output = input.new_empty((*rows, features))
    h_n = input.new_empty((directions, batch, first.out_features))
    c_n = input.new_empty((directions, batch, hidden))
    if not training:
        return output, h_n, c_n, input.new_empty(0), input.new_empty(0), input.new_empty(0)
    kept = compute_dtype(input.dtype)
    gates = input.new_empty((directions, *rows, 4 * hidden), dtype=kept)
    cells = input.new_empty((directions, *rows, hidden), dtype=kept)
    return output, h_n, c_n, gates, cells, input.new_empty((num_layers - 1, *rows, features))


def keeps(args, needs):
    return (True,) * len(needs), (True, False, False, True, True, True)


def flops(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional):
    rows = math.prod(input[:-1])
    return 2 * rows * sum(math.prod(weight) for weight in weights if len(weight) == 2)


operation = Operation(
    "lstm",
    "Tensor input, Tensor? h0, Tensor? c0, Tensor[] weights, Tensor? batch_sizes, Tensor? seed, bool bias, "
    "int num_layers, float dropout, bool bidirectional",
    ("output", "h_n", "c_n", "gates", "cells", "layer_outputs"),
    visible=3,
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(
        Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),
        *cuda_rows("nnzoo_fast.ops.lstm.cuda", "steps"),
        triton_row("nnzoo_fast.ops.lstm.triton_kernels"),
    ),
    check=check,
    keeps=keeps,
    autocast="lower",
    flops=flops,
)
