"""Wrong calls of the recurrent operations."""

from __future__ import annotations

import itertools

import torch

from nnzoo_fast.recurrent.family import Family
from nnzoo_fast.recurrent.weights import group, per_direction


def two_states(name: str, hx) -> tuple[torch.Tensor, torch.Tensor]:
    """h and c.

    Raises:
        TypeError: `hx` is no tuple.
        RuntimeError: it has another number of tensors.
    """
    if not isinstance(hx, (tuple, list)):
        raise TypeError(f"{name}: hx must be the tuple of h and c, got a {type(hx).__name__}")
    if len(hx) != 2:
        raise RuntimeError(f"{name}: hx must be the tuple of h and c, got {len(hx)} of them")
    return tuple(hx)


def check_count(family: Family, weights, bias, num_layers, bidirectional):
    if num_layers < 1:
        raise RuntimeError(f"{family.name}: num_layers is {num_layers}, expected at least 1")
    directions = num_layers * (2 if bidirectional else 1)
    each = per_direction(len(weights), bias, directions)
    if each == 0 or (each % 2 == 1 and not family.has_cells):
        least = 4 if bias else 2
        projection = f" (with a projection {least + 1})" if family.has_cells else ""
        raise RuntimeError(
            f"{family.name}: weights has {len(weights)} tensors, expected {least}{projection} for each of "
            f"{directions} directions"
        )


def check(family: Family, *args) -> None:
    """The `check` of an operation."""
    call, name = family.call(args), family.name
    check_count(family, call.weights, call.bias, call.num_layers, call.bidirectional)
    for index, tensor in enumerate(call.weights):
        _check_like_input(name, f"weights[{index}]", tensor, call.input)
    grouped = group(call.weights, call.bias, call.directions)
    _check_weights(family, grouped, call.input.shape[-1], call.count)
    h0 = call.states[0]
    if call.batch_sizes is None:
        if call.input.shape[0] == 0:
            raise RuntimeError(f"{name}: input has no steps, expected a sequence length larger than 0")
        batch = call.input.shape[1]
    else:
        _check_batch_sizes(name, call.batch_sizes)
        if h0 is None:
            raise RuntimeError(f"{name}: h0 is None, expected a tensor since the input is packed")
        batch = h0.shape[1] if h0.dim() == 3 else -1
    if len({state is None for state in call.states}) == 2:
        raise RuntimeError(f"{name}: of hx only one tensor is None, expected both or neither")
    if h0 is not None:
        widths = grouped[0].out_features, grouped[0].hidden_size
        for index, state in enumerate(call.states):
            label = f"hx[{index}]" if family.has_cells else "hx"
            _check_state(name, label, state, call.input, (call.directions, batch, widths[index]))


def _check_weights(family, grouped, in_features, count):
    name, gates, first = family.name, family.gates, grouped[0]
    if first.w_hh.dim() != 2:
        raise RuntimeError(f"{name}: weights[1] must be [{gates} * hidden, out_features], got {list(first.w_hh.shape)}")
    rows, out = first.w_hh.shape
    hidden = rows // gates
    if gates * hidden != rows or (first.w_hr is None and hidden != out):
        raise RuntimeError(f"{name}: weights[1] must be [{gates} * hidden, hidden], got {list(first.w_hh.shape)}")
    position = 0
    for index, own in enumerate(grouped):
        features = in_features if index < count else out * count
        shapes = ((rows, features), (rows, out), (rows,), (rows,), (out, hidden))
        for tensor, shape in zip(own, shapes, strict=True):
            if tensor is None:
                continue
            if tensor.shape != shape:
                raise RuntimeError(f"{name}: weights[{position}] must be {list(shape)}, got {list(tensor.shape)}")
            position += 1


def _check_like_input(name, label, tensor, input):
    if tensor.dtype != input.dtype:
        raise RuntimeError(f"{name}: {label} is {tensor.dtype}, expected input's {input.dtype}")
    if tensor.device != input.device:
        raise RuntimeError(f"{name}: {label} is on {tensor.device}, expected input's {input.device}")


def _check_state(name, label, state, input, shape):
    _check_like_input(name, label, state, input)
    if state.dim() != 3 or tuple(state.shape) != shape:
        raise RuntimeError(f"{name}: {label} must be {list(shape)}, got {list(state.shape)}")


def _check_batch_sizes(name, batch_sizes):
    if batch_sizes.dtype != torch.int64 or batch_sizes.dim() != 1 or batch_sizes.shape[0] == 0:
        raise RuntimeError(
            f"{name}: batch_sizes must be int64 [steps], got {batch_sizes.dtype} {list(batch_sizes.shape)}"
        )
    if batch_sizes.device.type not in ("cpu", "meta"):
        raise RuntimeError(f"{name}: batch_sizes must be on the CPU, got {batch_sizes.device}")


def steps_of(name: str, batch_sizes: torch.Tensor, rows: int, batch: int) -> list[int]:
    """The values of `batch_sizes`, once they are known to describe `rows` rows of `batch` sequences.

    Raises:
        RuntimeError: they grow, aren't positive, or don't start at `batch` or add up to `rows`.
    """
    sizes = batch_sizes.tolist()
    if sizes[0] != batch:
        raise RuntimeError(f"{name}: batch_sizes starts with {sizes[0]}, expected hx's batch of {batch}")
    if sizes[-1] < 1 or any(later > earlier for earlier, later in itertools.pairwise(sizes)):
        raise RuntimeError(f"{name}: batch_sizes must be positive and never grow, got {sizes}")
    if sum(sizes) != rows:
        raise RuntimeError(f"{name}: batch_sizes add up to {sum(sizes)}, expected input's {rows} rows")
    return sizes
