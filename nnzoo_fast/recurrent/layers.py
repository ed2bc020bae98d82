"""The layers and directions of a recurrent call: the loop over kernels that run one layer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from nnzoo_fast.recurrent.check import steps_of
from nnzoo_fast.recurrent.family import Call, Family, compute_dtype
from nnzoo_fast.recurrent.weights import Weights, flatten, group


@dataclass(frozen=True)
class Direction:
    """One direction of one layer. A backend's subclass runs it; what each tensor is stands in csrc/common/recurrent.h.

    `batch_sizes` is the tensor of a packed call, `sizes` its values (the batch, once per step, for a padded one). A
    family without cells has no c0, c_n, cells and their gradients: these arguments are then left out.
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
        """Fills output (rows may be apart), h_n unless it is None, c_n, and gates and cells unless both are None."""
        raise NotImplementedError

    def backward(self, input, h0, c0, output, gates, cells, grad_output, grad_h_n, grad_c_n, into, add) -> None:
        """Fills `into`: the gradients of input, w_ih, w_hh, bias, w_hr, h0 and c0, None where not wanted.

        With `add` the gradient of the input is added to what stands there.
        """
        raise NotImplementedError

    @classmethod
    def forward_layer(cls, passes: Sequence[Forward], options: tuple) -> None:
        """`forward` of each direction of a layer."""
        for one in passes:
            one.direction.forward(*one.tensors)

    @classmethod
    def backward_layer(cls, passes: Sequence[Backward], options: tuple) -> None:
        """`backward` of each direction of a layer."""
        for one in passes:
            own = one.grad_weights
            into = (one.grad_input, own.w_ih, own.w_hh, own.b_ih, own.w_hr, *one.grad_states)
            one.direction.backward(*one.tensors, into, one.direction.reverse)

    def state(self, tensor: torch.Tensor | None, width: int, like: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """A copy of a state [batch, width] or of its gradient in `dtype`; zeros if there is none."""
        if tensor is None:
            return like.new_zeros((self.batch, width), dtype=dtype)
        return tensor.to(dtype, copy=True)

    @staticmethod
    def drop(tensor, into, layer, seed, probability) -> torch.Tensor:
        """Dropout of the output of `layer` - 1, as the reference does it; `into` may be `tensor`."""
        raise NotImplementedError


class Forward(NamedTuple):
    """A direction and the arguments of its `forward`."""

    direction: Direction
    tensors: tuple


class Backward(NamedTuple):
    """A direction, what its `backward` reads and what it fills: None where a gradient isn't wanted."""

    direction: Direction
    tensors: tuple
    grad_input: torch.Tensor | None
    grad_weights: Weights
    grad_states: tuple


class Stack:
    """The directions of a call, and the sizes that they share."""

    def __init__(self, kind: type[Direction], family: Family, call: Call):
        self.count = call.count
        packed = call.batch_sizes is not None
        batch, steps = call.batch, call.input.shape[0]
        self.rows = steps if packed else steps * batch
        batch_sizes = call.batch_sizes.contiguous() if packed else None
        sizes = steps_of(family.name, batch_sizes, self.rows, batch) if packed else [batch] * steps
        grouped = group([weight.contiguous() for weight in call.weights], call.bias, call.directions)
        self.directions = [
            kind(sizes, batch, self.rows, own, batch_sizes, index % self.count == 1, call.input.dtype)
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


def at(tensors: Sequence[torch.Tensor | None], index: int) -> tuple:
    return tuple(None if tensor is None else tensor[index] for tensor in tensors)


def contiguous(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.contiguous()


def forward_by(family: Family, kind: type[Direction]) -> Callable[..., tuple]:
    """The forward of the backend whose directions are of this kind."""

    def forward(*args):
        *args, training = args
        call, outputs = family.call(args), family.allocate(*args, training)
        output, finals, kept, layer_outputs = family.split_outputs(outputs)
        stack = Stack(kind, family, call)
        below, states = call.input.contiguous(), [contiguous(state) for state in call.states]
        kept = kept if training else (None,) * len(kept)
        for layer in range(call.num_layers):
            if layer > 0 and call.seed is not None:
                below = kind.drop(below, torch.empty_like(below) if training else below, layer, call.seed, call.dropout)
            last = layer == call.num_layers - 1
            above = output if last else layer_outputs[layer] if training else torch.empty_like(output)
            passes = [
                Forward(direction, (below, *at(states, index), own, *at(finals, index), *at(kept, index)))
                for index, direction, (own,) in stack.layer(layer, above)
            ]
            kind.forward_layer(passes, call.options)
            below = above
        return outputs

    return forward


def backward_by(family: Family, kind: type[Direction]) -> Callable[..., tuple]:
    """The backward of the backend whose directions are of this kind."""

    def backward(grads, args, outputs, needs):
        call = family.call(args)
        output, _, kept, layer_outputs = family.split_outputs(outputs)
        stack = Stack(kind, family, call)
        grad, *grad_finals = (grad.contiguous() for grad in grads)
        states = [contiguous(state) for state in call.states]
        needs_input, *rest = needs[: 1 + len(states) + len(call.weights)]
        needs_states, needs_weights = rest[: len(states)], rest[len(states) :]
        wanted = group(needs_weights, call.bias, call.directions)
        new = functools.partial(call.input.new_empty, dtype=kind.gradient_dtype(call.input.dtype))
        grad_states = [new(own.shape) if need else None for own, need in zip(grad_finals, needs_states, strict=True)]
        found = [None] * len(wanted)
        for layer in reversed(range(call.num_layers)):
            above = output if layer == call.num_layers - 1 else layer_outputs[layer]
            below = call.input.contiguous() if layer == 0 else layer_outputs[layer - 1]
            if layer > 0 and call.seed is not None:
                below = kind.drop(below, torch.empty_like(below), layer, call.seed, call.dropout)
            grad_below = new(below.shape) if layer > 0 or needs_input else None
            passes = []
            for index, direction, (own_output, own_grad) in stack.layer(layer, above, grad):
                found[index] = weight_gradients(family, direction.weights, wanted[index], new)
                tensors = (below, *at(states, index), own_output, *at(kept, index), own_grad, *at(grad_finals, index))
                passes.append(Backward(direction, tensors, grad_below, found[index], at(grad_states, index)))
            kind.backward_layer(passes, call.options)
            if layer > 0:
                grad = grad_below.to(call.input.dtype)
                grad = kind.drop(grad, grad, layer, call.seed, call.dropout) if call.seed is not None else grad
        own = [split_bias(family, grads, want) for grads, want in zip(found, wanted, strict=True)]
        of_weights = flatten(own, call.bias, stack.projected)
        of_input = grad_below if needs_input else None
        flat = (of_input, *grad_states, *of_weights, None, None)  # batch_sizes and seed have none
        return tuple(None if grad is None else grad.to(call.input.dtype) for grad in flat)

    return backward


def weight_gradients(family: Family, weights: Weights, wanted: Weights, new) -> Weights:
    """Memory for what is wanted; a gradient that both biases share stands in b_ih."""
    found = Weights(*(new(w.shape) if need else None for w, need in zip(weights, wanted, strict=True)))
    if not family.shares_bias_gradient:
        return found
    return found._replace(b_ih=found.b_hh if found.b_ih is None else found.b_ih, b_hh=None)


def split_bias(family: Family, own: Weights, wanted: Weights) -> Weights:
    if not family.shares_bias_gradient or not wanted.b_hh:
        return own
    b_hh = own.b_ih.clone() if wanted.b_ih else own.b_ih
    return own._replace(b_ih=own.b_ih if wanted.b_ih else None, b_hh=b_hh)
