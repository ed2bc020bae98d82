"""The layers and directions of an `lstm` call: the loop over kernels that run one direction of one layer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from nnzoo_fast.ops.lstm.check import steps_of
from nnzoo_fast.ops.lstm.dtypes import compute_dtype
from nnzoo_fast.ops.lstm.weights import Weights, flatten, group


@dataclass(frozen=True)
class Direction:
    """One direction of one layer. A backend's subclass runs it; what each tensor is stands in csrc/ops/lstm/lstm.h.

    `batch_sizes` is the tensor of a packed call, `sizes` its values (the batch, once per step, for a padded one).
    """

    sizes: list[int]
    batch: int
    rows: int
    weights: Weights
    batch_sizes: torch.Tensor | None
    reverse: bool
    dtype: torch.dtype

    @property
    def steps(self) -> int:
        return len(self.sizes)

    @staticmethod
    def gradient_dtype(dtype: torch.dtype) -> torch.dtype:
        """What `backward` fills for tensors of this dtype."""
        return compute_dtype(dtype)

    def forward(self, input, h0, c0, output, h_n, c_n, gates, cells) -> None:
        """Fills output (rows may be apart), h_n unless it is None, c_n, and gates and cells unless both are
        None."""
        raise NotImplementedError

    def backward(self, input, h0, c0, output, gates, cells, grad_output, grad_h_n, grad_c_n, into, add) -> None:
        """Fills `into`: the gradients of input, w_ih, w_hh, bias, w_hr, h0 and c0, None where not wanted.

        With `add` the gradient of the input is added to what stands there.
        """
        raise NotImplementedError

    def state(self, tensor: torch.Tensor | None, width: int, like: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """A copy of a state [batch, width] or of its gradient in `dtype`; zeros if there is none."""
        if tensor is None:
            return like.new_zeros((self.batch, width), dtype=dtype)
        return tensor.to(dtype, copy=True)

    @staticmethod
    def drop(tensor, into, layer, seed, probability) -> torch.Tensor:
        """Dropout of the output of `layer` - 1, as the reference does it; `into` may be `tensor`."""
        raise NotImplementedError


class Stack:
    """The directions of a call, and the sizes that they share."""

    def __init__(self, kind: type[Direction], input, h0, weights, batch_sizes, bias, num_layers, bidirectional):
        self.count = 2 if bidirectional else 1
        self.num_layers = num_layers
        packed = batch_sizes is not None
        batch = h0.shape[1] if packed else input.shape[1]
        self.rows = input.shape[0] * (1 if packed else batch)
        batch_sizes = batch_sizes.contiguous() if packed else None
        sizes = steps_of(batch_sizes, self.rows, batch) if packed else [batch] * input.shape[0]
        grouped = group([weight.contiguous() for weight in weights], bias, num_layers * self.count)
        self.directions = [
            kind(sizes, batch, self.rows, own, batch_sizes, index % self.count == 1, input.dtype)
            for index, own in enumerate(grouped)
        ]
        self.out = grouped[0].out_features
        self.width = self.count * self.out
        self.projected = grouped[0].w_hr is not None

    def layer(self, number: int, *tensors: torch.Tensor):
        """(index, direction, its columns of each of `tensors`) for each direction of a layer."""
        for position in range(self.count):
            index = number * self.count + position
            columns = slice(position * self.out, (position + 1) * self.out)
            yield index, self.directions[index], [tensor.view(self.rows, self.width)[:, columns] for tensor in tensors]


def at(tensor: torch.Tensor | None, index: int) -> torch.Tensor | None:
    return None if tensor is None else tensor[index]


def contiguous(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.contiguous()


def forward_by(kind: type[Direction]) -> Callable[..., tuple]:
    """The forward of the backend whose directions are of this kind."""

    def forward(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional, training):
        from nnzoo_fast.ops.lstm import allocate

        args = (input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional)
        outputs = output, h_n, c_n, gates, cells, layer_outputs = allocate(*args, training)
        stack = Stack(kind, input, h0, weights, batch_sizes, bias, num_layers, bidirectional)
        below, h0, c0 = input.contiguous(), contiguous(h0), contiguous(c0)
        kept = (gates, cells) if training else (None, None)
        for layer in range(num_layers):
            if layer > 0 and seed is not None:
                below = kind.drop(below, torch.empty_like(below) if training else below, layer, seed, dropout)
            last = layer == num_layers - 1
            above = output if last else layer_outputs[layer] if training else torch.empty_like(output)
            for index, direction, (own,) in stack.layer(layer, above):
                keep = [at(tensor, index) for tensor in kept]
                direction.forward(below, at(h0, index), at(c0, index), own, h_n[index], c_n[index], *keep)
            below = above
        return outputs

    return forward


def backward_by(kind: type[Direction]) -> Callable[..., tuple]:
    """The backward of the backend whose directions are of this kind."""

    def backward(grads, args, outputs, needs):
        input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional = args
        output, _, _, gates, cells, layer_outputs = outputs
        stack = Stack(kind, input, h0, weights, batch_sizes, bias, num_layers, bidirectional)
        grad, grad_h_n, grad_c_n = (grad.contiguous() for grad in grads)
        h0, c0 = contiguous(h0), contiguous(c0)
        needs_input, needs_h0, needs_c0, *needs_weights = needs[: 3 + len(weights)]
        wanted = group(needs_weights, bias, num_layers * stack.count)
        new = functools.partial(input.new_empty, dtype=kind.gradient_dtype(input.dtype))
        grad_h0, grad_c0 = (new(grad_h_n.shape) if needs_h0 else None), (new(grad_c_n.shape) if needs_c0 else None)
        found = [None] * len(wanted)
        for layer in reversed(range(num_layers)):
            above = output if layer == num_layers - 1 else layer_outputs[layer]
            below = input.contiguous() if layer == 0 else layer_outputs[layer - 1]
            if layer > 0 and seed is not None:
                below = kind.drop(below, torch.empty_like(below), layer, seed, dropout)
            grad_below = new(below.shape) if layer > 0 or needs_input else None
            for index, direction, (own_output, own_grad) in stack.layer(layer, above, grad):
                found[index] = own = weight_gradients(direction.weights, wanted[index], new)
                states = at(h0, index), at(c0, index)
                kept = gates[index], cells[index]
                into = (grad_below, own.w_ih, own.w_hh, own.b_ih, own.w_hr, at(grad_h0, index), at(grad_c0, index))
                upstream = own_grad, grad_h_n[index], grad_c_n[index]
                direction.backward(below, *states, own_output, *kept, *upstream, into, direction.reverse)
            if layer > 0:
                grad = grad_below.to(input.dtype)
                grad = kind.drop(grad, grad, layer, seed, dropout) if seed is not None else grad
        own = [split_bias(grads, want) for grads, want in zip(found, wanted, strict=True)]
        of_weights = flatten(own, bias, stack.projected)
        of_input = grad_below if needs_input else None
        flat = (of_input, grad_h0, grad_c0, *of_weights, None, None)  # batch_sizes and seed have none
        return tuple(None if grad is None else grad.to(input.dtype) for grad in flat)

    return backward


def weight_gradients(weights: Weights, wanted: Weights, new) -> Weights:
    """Memory for what is wanted; both biases have the same gradient, which stands in b_ih."""
    w_ih, w_hh, b_ih, _, w_hr = (new(w.shape) if need else None for w, need in zip(weights, wanted, strict=True))
    if b_ih is None and wanted.b_hh:
        b_ih = new(weights.b_hh.shape)
    return Weights(w_ih, w_hh, b_ih, None, w_hr)


def split_bias(own: Weights, wanted: Weights) -> Weights:
    b_hh = (own.b_ih.clone() if wanted.b_ih else own.b_ih) if wanted.b_hh else None
    return Weights(own.w_ih, own.w_hh, own.b_ih if wanted.b_ih else None, b_hh, own.w_hr)
