"""Wrong calls of `lstm`."""

from __future__ import annotations

import itertools

import torch

from nnzoo_fast.ops.lstm.weights import group, per_direction


def check_count(weights, bias, num_layers, bidirectional):
    if num_layers < 1:
        raise RuntimeError(f"lstm: num_layers is {num_layers}, expected at least 1")
    directions = num_layers * (2 if bidirectional else 1)
    if per_direction(len(weights), bias, directions) == 0:
        each = 4 if bias else 2
        raise RuntimeError(
            f"lstm: weights has {len(weights)} tensors, expected {each} (with a projection {each + 1}) for each of "
            f"{directions} directions"
        )


def check(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional):
    directions = num_layers * (2 if bidirectional else 1)
    check_count(weights, bias, num_layers, bidirectional)
    for index, tensor in enumerate(weights):
        _check_like_input(f"weights[{index}]", tensor, input)
    grouped = group(weights, bias, directions)
    _check_weights(grouped, input.shape[-1], 2 if bidirectional else 1)
    if batch_sizes is None:
        if input.shape[0] == 0:
            raise RuntimeError("lstm: input has no steps, expected a sequence length larger than 0")
        batch = input.shape[1]
    else:
        _check_batch_sizes(batch_sizes)
        if h0 is None:
            raise RuntimeError("lstm: h0 is None, expected a tensor since the input is packed")
        batch = h0.shape[1] if h0.dim() == 3 else -1
    if (h0 is None) != (c0 is None):
        raise RuntimeError("lstm: of hx only one tensor is None, expected both or neither")
    if h0 is not None:
        _check_state("hx[0]", h0, input, (directions, batch, grouped[0].out_features))
        _check_state("hx[1]", c0, input, (directions, batch, grouped[0].hidden_size))


def _check_weights(grouped, in_features, count):
    first = grouped[0]
    if first.w_hh.dim() != 2:
        raise RuntimeError(f"lstm: weights[1] must be [4 * hidden, out_features], got {list(first.w_hh.shape)}")
    gates, out = first.w_hh.shape
    hidden = gates // 4
    if 4 * hidden != gates or (first.w_hr is None and hidden != out):
        raise RuntimeError(f"lstm: weights[1] must be [4 * hidden, hidden], got {list(first.w_hh.shape)}")
    position = 0
    for index, own in enumerate(grouped):
        features = in_features if index < count else out * count
        shapes = ((gates, features), (gates, out), (gates,), (gates,), (out, hidden))
        for tensor, shape in zip(own, shapes, strict=True):
            if tensor is None:
                continue
            if tensor.shape != shape:
                raise RuntimeError(f"lstm: weights[{position}] must be {list(shape)}, got {list(tensor.shape)}")
            position += 1


def _check_like_input(name, tensor, input):
    if tensor.dtype != input.dtype:
        raise RuntimeError(f"lstm: {name} is {tensor.dtype}, expected input's {input.dtype}")
    if tensor.device != input.device:
        raise RuntimeError(f"lstm: {name} is on {tensor.device}, expected input's {input.device}")


def _check_state(name, state, input, shape):
    _check_like_input(name, state, input)
    if state.dim() != 3 or tuple(state.shape) != shape:
        raise RuntimeError(f"lstm: {name} must be {list(shape)}, got {list(state.shape)}")


def _check_batch_sizes(batch_sizes):
    if batch_sizes.dtype != torch.int64 or batch_sizes.dim() != 1 or batch_sizes.shape[0] == 0:
        raise RuntimeError(
            f"lstm: batch_sizes must be int64 [steps], got {batch_sizes.dtype} {list(batch_sizes.shape)}"
        )
    if batch_sizes.device.type not in ("cpu", "meta"):
        raise RuntimeError(f"lstm: batch_sizes must be on the CPU, got {batch_sizes.device}")


def steps_of(batch_sizes: torch.Tensor, rows: int, batch: int) -> list[int]:
    """The values of `batch_sizes`, once they are known to describe `rows` rows of `batch` sequences.

    Raises:
        RuntimeError: they grow, aren't positive, or don't start at `batch` or add up to `rows`.
    """
    sizes = batch_sizes.tolist()
    if sizes[0] != batch:
        raise RuntimeError(f"lstm: batch_sizes starts with {sizes[0]}, expected hx's batch of {batch}")
    if sizes[-1] < 1 or any(later > earlier for earlier, later in itertools.pairwise(sizes)):
        raise RuntimeError(f"lstm: batch_sizes must be positive and never grow, got {sizes}")
    if sum(sizes) != rows:
        raise RuntimeError(f"lstm: batch_sizes add up to {sum(sizes)}, expected input's {rows} rows")
    return sizes
