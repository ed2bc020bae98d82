"""The public functions of the recurrent operations: what happens to a call before and beside the kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.compiler import is_compiling

from nnzoo_fast import _compat
from nnzoo_fast.front_door import STOCK, is_traceable, route
from nnzoo_fast.random import keep_mask, new_seed
from nnzoo_fast.recurrent.check import check_count
from nnzoo_fast.recurrent.family import Family
from nnzoo_fast.recurrent.weights import group


def run(
    family: Family,
    operation: Callable,
    in_torch: Callable,
    input: torch.Tensor,
    states: tuple,
    weights: list,
    bias: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    batch_sizes: torch.Tensor | None,
    options: tuple,
    seed: torch.Tensor | None,
    backend: str | None,
    autocast_promotes: bool,
) -> tuple:
    """Output and last states, batch first if asked; arguments as in `lstm`, `states` being (h0,) or (h0, c0).

    `autocast_promotes`: torch returns dtypes under autocast that only its own operator gives.
    """
    name = family.name
    if not 0 <= dropout <= 1:
        raise ValueError(f"{name}: dropout is {dropout}, expected a probability in [0, 1]")
    if batch_first and batch_sizes is not None:
        raise ValueError(f"{name}: batch_first is meaningless for packed input, which has batch_sizes")
    if is_traceable(input) and input.dim() != (3 if batch_sizes is None else 2):
        expected = "[steps, batch, in_features]" if batch_sizes is None else "[rows, in_features], being packed"
        raise RuntimeError(f"{name}: input must be {expected}, got {list(input.shape)}")
    weights = list(weights)
    check_count(family, weights, bias, num_layers, bidirectional)
    directions = num_layers * (2 if bidirectional else 1)
    if batch_sizes is not None and states[0] is None:
        states = family.zero_states(input, weights, bias, directions, batch_sizes[0])
    input = input.transpose(0, 1) if batch_first else input
    drops = train and dropout > 0 and num_layers > 1
    settings = (bias, num_layers, float(dropout), bidirectional)
    draws = drops and seed is None
    promoted = autocast_promotes and is_autocast(input)
    if backend is None and (promoted or (draws and _is_watched(input, *states, *weights))):
        found = torch_sequence(family, in_torch, input, states, weights, batch_sizes, *settings, train, options)
    else:
        seed = new_seed(input.device) if draws else seed if drops else None
        found = operation(input, *states, weights, batch_sizes, seed, *settings, *options, backend=backend)
    if not batch_first:
        return found
    output, *finals = found
    return output.transpose(0, 1), *finals


def is_autocast(input: torch.Tensor) -> bool:
    return is_traceable(input) and not input.is_meta and torch.is_autocast_enabled(input.device.type)


def _is_watched(*tensors) -> bool:
    """Whether a functorch transform or a tracer watches: a seed drawn now would be wrong or become a constant."""
    return route([tensor for tensor in tensors if tensor is not None]) is STOCK


def torch_sequence(
    family, in_torch, input, states, weights, batch_sizes, bias, num_layers, dropout, bidirectional, train, options
):
    """`in_torch(*options)` is torch's function, such as `torch._VF.lstm`."""
    if states[0] is None:
        directions = num_layers * (2 if bidirectional else 1)
        states = family.zero_states(input, weights, bias, directions, input.shape[1])
    hx = tuple(states) if family.has_cells else states[0]
    settings, function = (bias, num_layers, dropout, train, bidirectional), in_torch(*options)
    if batch_sizes is None:
        return function(input, hx, weights, *settings, False)
    return function(input, batch_sizes, hx, weights, *settings)


def stock(family: Family, in_torch: Callable, reference: Callable, lacks: Callable[..., bool], *args):
    """The `stock` of an operation. `lacks(call)`: torch's function can't run here even without a transform."""
    call = family.call(args)
    if _compat.transformed() if not is_compiling() else lacks(call):
        return reference(*args)
    if call.seed is None:
        settings = (call.bias, call.num_layers, call.dropout, call.bidirectional, False, call.options)
        return torch_sequence(family, in_torch, call.input, call.states, call.weights, call.batch_sizes, *settings)
    return _stock_with_seed(family, in_torch, call)


def _stock_with_seed(family, in_torch, call):
    """torch's operators layer by layer, with our mask in between."""
    count, each = call.count, len(call.weights) // call.num_layers
    out_features = group(call.weights, call.bias, call.directions)[0].out_features
    masks = keep_mask(call.seed, (call.num_layers - 1, *call.input.shape[:-1], count * out_features), call.dropout)
    scale = 0.0 if call.dropout == 1 else 1 / (1 - call.dropout)
    output, finals = call.input, []
    for layer in range(call.num_layers):
        if layer > 0:
            output = torch.where(masks[layer - 1], output * scale, torch.zeros_like(output))
        states = [None if state is None else state[layer * count :][:count] for state in call.states]
        own = call.weights[layer * each : (layer + 1) * each]
        settings = (call.bias, 1, 0.0, call.bidirectional, False, call.options)
        output, *final = torch_sequence(family, in_torch, output, states, own, call.batch_sizes, *settings)
        finals.append(final)
    return output, *(torch.cat(parts) for parts in zip(*finals, strict=True))
