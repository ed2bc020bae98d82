"""`lstm` on the kernels of `csrc/ops/lstm`, which run one direction of one layer: the loop over these stands here."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nnzoo_fast import _compat, _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.lstm.check import steps_of
from nnzoo_fast.ops.lstm.weights import Weights, flatten, group, per_direction


def supports(input, h0, c0, weights, batch_sizes, *settings) -> Verdict:
    return cpu_supports(input, "lstm_forward")


def pays(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional) -> Verdict:
    if _onednn_wins(input, weights, batch_sizes, seed, bias, num_layers * (2 if bidirectional else 1)):
        return False, "oneDNN, behind torch's operator, multiplies in bfloat16 on this CPU; these kernels in float32"
    return True, "whole sequence in one kernel: packed recurrent weights, gates applied in the cache"


def _onednn_wins(input, weights, batch_sizes, seed, bias, directions) -> bool:
    """Inference only: torch can't differentiate oneDNN's backward, so its training has no double backward."""
    if input.dtype != torch.bfloat16 or not _compat.CPU_MULTIPLIES_BF16 or not torch.backends.mkldnn.enabled:
        return False
    onednn_takes_it = batch_sizes is None and per_direction(len(weights), bias, directions) in (2, 4)
    training = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (input, *weights))
    return onednn_takes_it and seed is None and not training


@dataclass(frozen=True)
class Direction:
    """One direction of one layer as its kernels see it; pointers into tensors that the caller keeps alive."""

    steps: int
    batch: int
    rows: int
    weights: Weights
    batch_sizes: torch.Tensor | None
    reverse: bool
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The `Shape` of lstm_bind.cpp."""
        own = self.weights
        return (
            self.steps,
            self.batch,
            self.rows,
            own.w_ih.shape[1],
            own.hidden_size,
            0 if own.w_hr is None else own.out_features,
            address(self.batch_sizes),
            self.reverse,
            _extension.DTYPE_CODES[self.dtype],
            torch.get_num_threads(),
        )

    @property
    def weight_addresses(self) -> tuple[int, ...]:
        return tuple(map(address, self.weights))

    def forward(self, input, h0, c0, output, stride, h_n, c_n, gates, cells) -> None:
        """Tensors are contiguous; `output` is an address of rows that are `stride` elements apart."""
        tensors = (address(input), address(h0), address(c0), output, address(h_n), address(c_n))
        kept = (address(gates), address(cells))
        _extension._C.lstm_forward(self.shape, self.weight_addresses, tensors + kept, stride)

    def backward(self, input, h0, c0, output, stride, kept, grad_output, grad_stride, grad_h_n, grad_c_n, into, add):
        """Fills `into`: the gradients of input, w_ih, w_hh, bias, w_hr, h0 and c0, None where not wanted."""
        tensors = (address(input), address(h0), address(c0), output, *map(address, kept), grad_output)
        _extension._C.lstm_backward(
            self.shape,
            self.weight_addresses,
            (*tensors, address(grad_h_n), address(grad_c_n)),
            tuple(map(address, into)),
            stride,
            grad_stride,
            add,
        )


class Stack:
    """The directions of a call, and the sizes that they share."""

    def __init__(self, input, h0, weights, batch_sizes, bias, num_layers, bidirectional):
        self.count = 2 if bidirectional else 1
        self.num_layers = num_layers
        packed = batch_sizes is not None
        batch = h0.shape[1] if packed else input.shape[1]
        self.rows = input.shape[0] * (1 if packed else batch)
        self.batch_sizes = batch_sizes.contiguous() if packed else None
        steps = len(steps_of(batch_sizes, self.rows, batch)) if packed else input.shape[0]
        grouped = group([weight.contiguous() for weight in weights], bias, num_layers * self.count)
        self.directions = [
            Direction(steps, batch, self.rows, own, self.batch_sizes, index % self.count == 1, input.dtype)
            for index, own in enumerate(grouped)
        ]
        self.out = grouped[0].out_features
        self.width = self.count * self.out
        self.projected = grouped[0].w_hr is not None

    def layer(self, number: int):
        """(index, direction, offset of its columns in the layer's output in elements) of each direction of a layer."""
        for position in range(self.count):
            index = number * self.count + position
            yield index, self.directions[index], position * self.out


def drop(tensor, into, layer, seed, probability):
    """Dropout of the output of `layer` - 1, as the reference does it."""
    _extension._C.lstm_dropout(
        tensor.data_ptr(),
        into.data_ptr(),
        tensor.numel(),
        (layer - 1) * tensor.numel(),
        probability,
        seed.item(),
        _extension.DTYPE_CODES[tensor.dtype],
        torch.get_num_threads(),
    )
    return into


def contiguous(tensor):
    return None if tensor is None else tensor.contiguous()


def forward(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional, training):
    from nnzoo_fast.ops.lstm import allocate

    args = (input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional)
    outputs = output, h_n, c_n, gates, cells, layer_outputs = allocate(*args, training)
    stack = Stack(input, h0, weights, batch_sizes, bias, num_layers, bidirectional)
    below, h0, c0 = input.contiguous(), contiguous(h0), contiguous(c0)
    size = input.element_size()
    for layer in range(num_layers):
        if layer > 0 and seed is not None:
            below = drop(below, torch.empty_like(below) if training else below, layer, seed, dropout)
        last = layer == num_layers - 1
        above = output if last else layer_outputs[layer] if training else torch.empty_like(output)
        for index, direction, column in stack.layer(layer):
            direction.forward(
                below,
                None if h0 is None else h0[index],
                None if c0 is None else c0[index],
                above.data_ptr() + column * size,
                stack.width,
                h_n[index],
                c_n[index],
                gates[index] if training else None,
                cells[index] if training else None,
            )
        below = above
    return outputs


def backward(grads, args, outputs, needs):
    input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional = args
    output, _, _, gates, cells, layer_outputs = outputs
    stack = Stack(input, h0, weights, batch_sizes, bias, num_layers, bidirectional)
    grad, grad_h_n, grad_c_n = (grad.contiguous() for grad in grads)
    h0, c0 = contiguous(h0), contiguous(c0)
    needs_input, needs_h0, needs_c0, *needs_weights = needs[: 3 + len(weights)]
    wanted = group(needs_weights, bias, num_layers * stack.count)
    size, new = input.element_size(), gates.new_empty
    grad_h0, grad_c0 = (new(grad_h_n.shape) if needs_h0 else None), (new(grad_c_n.shape) if needs_c0 else None)
    found = [None] * len(wanted)
    for layer in reversed(range(num_layers)):
        above = output if layer == num_layers - 1 else layer_outputs[layer]
        below = input.contiguous() if layer == 0 else layer_outputs[layer - 1]
        if layer > 0 and seed is not None:
            below = drop(below, torch.empty_like(below), layer, seed, dropout)
        grad_below = new(below.shape) if layer > 0 or needs_input else None
        for index, direction, column in stack.layer(layer):
            found[index] = own = weight_gradients(direction.weights, wanted[index], new)
            direction.backward(
                below,
                None if h0 is None else h0[index],
                None if c0 is None else c0[index],
                above.data_ptr() + column * size,
                stack.width,
                (gates[index], cells[index]),
                grad.data_ptr() + column * size,
                stack.width,
                grad_h_n[index],
                grad_c_n[index],
                (
                    grad_below,
                    own.w_ih,
                    own.w_hh,
                    own.b_ih,
                    own.w_hr,
                    None if grad_h0 is None else grad_h0[index],
                    None if grad_c0 is None else grad_c0[index],
                ),
                column > 0,
            )
        if layer > 0:
            grad = grad_below.to(input.dtype)
            grad = drop(grad, grad, layer, seed, dropout) if seed is not None else grad
    own = [split_bias(grads, want) for grads, want in zip(found, wanted, strict=True)]
    of_weights = flatten(own, bias, stack.projected)
    of_input = grad_below if needs_input else None
    flat = (of_input, grad_h0, grad_c0, *of_weights, None, None)  # batch_sizes and seed have none
    return tuple(None if grad is None else grad.to(input.dtype) for grad in flat)


def weight_gradients(weights: Weights, wanted: Weights, new) -> Weights:
    """Memory for what is wanted; both biases have the same gradient, which stands in b_ih."""
    w_ih, w_hh, b_ih, _, w_hr = (new(w.shape) if need else None for w, need in zip(weights, wanted, strict=True))
    if b_ih is None and wanted.b_hh:
        b_ih = new(weights.b_hh.shape)
    return Weights(w_ih, w_hh, b_ih, None, w_hr)


def split_bias(own: Weights, wanted: Weights) -> Weights:
    b_hh = (own.b_ih.clone() if wanted.b_ih else own.b_ih) if wanted.b_hh else None
    return Weights(own.w_ih, own.w_hh, own.b_ih if wanted.b_ih else None, b_hh, own.w_hr)
