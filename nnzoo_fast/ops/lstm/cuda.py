"""`lstm` on the kernels of `csrc/ops/lstm/lstm_cuda.cu`, which run one direction of one layer step by step.

The products that span all steps are those of `linear`.
"""

from __future__ import annotations

import torch

from nnzoo_fast._extension import DTYPE_CODES
from nnzoo_fast.backends import Verdict, address
from nnzoo_fast.cuda_support import allows_tf32, call
from nnzoo_fast.ops.linear.cuda import product
from nnzoo_fast.ops.lstm import allocate
from nnzoo_fast.ops.lstm.check import steps_of
from nnzoo_fast.ops.lstm.dtypes import compute_dtype
from nnzoo_fast.ops.lstm.weights import Weights, flatten, group
from nnzoo_fast.random import keep_mask


def supports(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional) -> Verdict:
    if group(weights, bias, num_layers * (2 if bidirectional else 1))[0].w_hr is not None:
        return False, "a projection (proj_size)"
    return True, ""


class Directions:
    """A call as the kernels see it: sizes, weights of every direction of every layer, initial states."""

    def __init__(self, input, h0, c0, weights, batch_sizes, bias, num_layers, bidirectional):
        self.count = 2 if bidirectional else 1
        packed = batch_sizes is not None
        self.batch = h0.shape[1] if packed else input.shape[1]
        self.rows = input.shape[0] * (1 if packed else self.batch)
        self.batch_sizes = batch_sizes.contiguous() if packed else None
        self.steps = len(steps_of(batch_sizes, self.rows, self.batch)) if packed else input.shape[0]
        self.weights = group([weight.contiguous() for weight in weights], bias, num_layers * self.count)
        self.hidden = self.weights[0].hidden_size
        self.width = self.count * self.hidden
        self.dtype, self.sums = input.dtype, compute_dtype(input.dtype)
        shape = (num_layers * self.count, self.batch, self.hidden)
        self.h0 = input.new_zeros(shape) if h0 is None else h0.contiguous()
        self.c0 = input.new_zeros(shape, dtype=self.sums) if c0 is None else c0.to(self.sums).contiguous()

    def shape(self, index: int) -> tuple[int, ...]:
        """The `Shape` of lstm_cuda_bind.cpp."""
        sizes = (self.steps, self.batch, self.rows, self.hidden)
        reverse = index % self.count
        return (*sizes, address(self.batch_sizes), reverse, DTYPE_CODES[self.dtype], allows_tf32())

    def of_layer(self, layer: int):
        """(index, weights, column in the layer's output) of each direction of a layer."""
        for position in range(self.count):
            index = layer * self.count + position
            yield index, self.weights[index], position * self.hidden


def dropped(tensor: torch.Tensor, layer: int, num_layers: int, seed: torch.Tensor, probability: float) -> torch.Tensor:
    """Dropout of the output of layer `layer` - 1."""
    keep = keep_mask(seed, (num_layers - 1, *tensor.shape), probability)[layer - 1]
    scale = 0.0 if probability == 1 else 1 / (1 - probability)
    return torch.where(keep, tensor * scale, torch.zeros_like(tensor))


def forward(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional, training):
    args = (input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional)
    outputs = output, h_n, c_n, gates, cells, layer_outputs = allocate(*args, training)
    stack = Directions(input, h0, c0, weights, batch_sizes, bias, num_layers, bidirectional)
    below = input.contiguous()
    for layer in range(num_layers):
        if layer > 0 and seed is not None:
            below = dropped(below, layer, num_layers, seed, dropout)
        last = layer == num_layers - 1
        above = output if last else layer_outputs[layer] if training else torch.empty_like(output)
        for index, own, column in stack.of_layer(layer):
            kept = input.new_empty((stack.rows, 4 * stack.hidden), dtype=stack.sums) if not training else gates[index]
            memory = input.new_empty((stack.rows, stack.hidden), dtype=stack.sums) if not training else cells[index]
            state = stack.c0[index].clone()
            h_n[index].copy_(stack.h0[index])
            shape = stack.shape(index)
            tensors = [address(t) for t in (below, own.w_ih, own.b_ih, own.b_hh, kept)]
            call(input, "lstm_input_gates", shape, tensors, own.w_ih.shape[1])
            tensors = [address(t) for t in (own.w_hh, kept, memory, h_n[index], state, above[..., column:])]
            call(input, "lstm_forward_steps", shape, tensors, stack.width)
            c_n[index].copy_(state)
        below = above
    return outputs


def backward(grads, args, outputs, needs):
    input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional = args
    output, _, _, gates, cells, layer_outputs = outputs
    stack = Directions(input, h0, c0, weights, batch_sizes, bias, num_layers, bidirectional)
    needs_input, needs_h0, needs_c0, *needs_weights = needs[: 3 + len(weights)]
    wanted = group(needs_weights, bias, num_layers * stack.count)
    grad = grads[0].contiguous()
    grad_h, grad_c = (state.to(stack.sums, memory_format=torch.contiguous_format, copy=True) for state in grads[1:])
    found: list = [None] * len(wanted)
    for layer in reversed(range(num_layers)):
        above = output if layer == num_layers - 1 else layer_outputs[layer]
        below = input.contiguous() if layer == 0 else layer_outputs[layer - 1]
        if layer > 0 and seed is not None:
            below = dropped(below, layer, num_layers, seed, dropout)
        grad_below = None
        for index, own, column in stack.of_layer(layer):
            grad_gates = input.new_empty((stack.rows, 4 * stack.hidden))
            previous = input.new_empty((stack.rows, stack.hidden))
            states = (own.w_hh, gates[index], cells[index], above[..., column:], stack.h0[index], stack.c0[index])
            tensors = [address(t) for t in (*states, grad[..., column:])]
            into = [address(t) for t in (grad_h[index], grad_c[index], grad_gates, previous)]
            call(input, "lstm_backward_steps", stack.shape(index), tensors, into, stack.width, stack.width)
            rows = below.reshape(stack.rows, own.w_ih.shape[1])
            found[index] = weight_gradients(own, wanted[index], grad_gates, rows, previous)
            if layer > 0 or needs_input:
                part = torch.empty_like(rows)
                product(grad_gates, own.w_ih.t(), part)
                grad_below = part if grad_below is None else grad_below + part
        grad = None if grad_below is None else grad_below.view(below.shape)
        if layer > 0 and seed is not None:
            grad = dropped(grad, layer, num_layers, seed, dropout)
    return (
        grad if needs_input else None,
        grad_h.to(input.dtype) if needs_h0 else None,
        grad_c.to(input.dtype) if needs_c0 else None,
        *flatten(found, bias, False),
        *(None,) * (len(needs) - 3 - len(weights)),
    )


def weight_gradients(own: Weights, wanted: Weights, grad_gates, rows, previous) -> Weights:
    """Gradients of what is wanted, from those of the gates' arguments, the layer's input and its previous outputs."""
    new = grad_gates.new_empty
    w_ih, w_hh = new(own.w_ih.shape) if wanted.w_ih else None, new(own.w_hh.shape) if wanted.w_hh else None
    if w_ih is not None:
        product(grad_gates.t(), rows.t(), w_ih)
    if w_hh is not None:
        product(grad_gates.t(), previous.t(), w_hh)
    total = None
    if wanted.b_ih or wanted.b_hh:
        total = new(grad_gates.shape[1])
        sizes = (*grad_gates.shape, *grad_gates.stride(), DTYPE_CODES[grad_gates.dtype])
        call(grad_gates, "linear_column_sum", grad_gates.data_ptr(), total.data_ptr(), *sizes)
    b_hh = (total.clone() if wanted.b_ih else total) if wanted.b_hh else None
    return Weights(w_ih, w_hh, total if wanted.b_ih else None, b_hh, None)
