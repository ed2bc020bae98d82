"""Calls of the kernels of `csrc/ops/channel_norm`, and what batch_norm and group_norm have in common."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from nnzoo_fast import _extension, tables
from nnzoo_fast.backends import Verdict, address, wants_gradients
from nnzoo_fast.norms import parameters
from nnzoo_fast.norms.parameters import dtype_of, packed
from nnzoo_fast.ops.conv.outputs import memory_format_of

LITTLE, LITTLE_TRAINING = 2**16, 2**18
"""Values from which a kernel is faster, where no table of this CPU says."""


class Shape(NamedTuple):
    """`ChannelShape` of csrc/ops/channel_norm/channel_norm.h."""

    images: int
    channels: int
    positions: int
    groups: int
    over_batch: bool
    channels_last: bool
    two_sweeps: bool

    @property
    def sets(self) -> int:
        return self.channels if self.over_batch else self.images * self.groups


def shape_of(input: torch.Tensor, groups: int, over_batch: bool, two_sweeps: bool = False) -> Shape:
    images, channels = input.shape[:2]
    positions = math.prod(input.shape[2:])
    channels_last = positions == 1 or memory_format_of(input) is not torch.contiguous_format
    return Shape(images, channels, positions, groups, over_batch, channels_last, two_sweeps)


def empty_like(input: torch.Tensor) -> torch.Tensor:
    """Uninitialised, channels-last for a channels-last input, else contiguous."""
    return torch.empty(input.shape, dtype=input.dtype, device=input.device, memory_format=memory_format_of(input))


def supports(input: torch.Tensor, *tensors: torch.Tensor | None) -> Verdict:
    return parameters.supports("channel_norm_forward", input, *tensors)


def kind_of(what: str, input: torch.Tensor, *tensors: torch.Tensor | None) -> tuple[str, int]:
    """The kind of call that a table tells apart, and its values; `what` is normalised together."""
    layout = "planes" if input.dim() > 2 and input.is_contiguous() else "adjacent channels"
    return f"{tables.DTYPE_NAMES[input.dtype]} {what} {layout} {tables.way(input, *tensors)}", math.prod(input.shape)


def pays(operation: str, what: str, input: torch.Tensor, *tensors: torch.Tensor | None) -> Verdict:
    if input.dtype not in tables.DTYPE_NAMES:
        return False, f"no kernel for {input.dtype}"
    kind, values = kind_of(what, input, *tensors)
    least = LITTLE_TRAINING if wants_gradients(input, *tensors) else LITTLE
    if what == "running":
        rule = False, "running statistics: stock torch needs a single sweep too"
    elif what == "groups":
        rule = False, "several channels a group: stock torch visits a group once too"
    elif "planes" not in kind:
        rule = False, "adjacent channels: stock torch sweeps as often, and is as fast"
    else:
        rule = True, "a set's planes are read from memory once and written once"
    return parameters.pays(operation, kind, values, least, rule)


def check_channels(name: str, input: torch.Tensor, **tensors: torch.Tensor | None) -> None:
    """Raises what torch raises where a tensor isn't [C]."""
    if input.dim() < 2:
        raise RuntimeError(f"{name}: input is {list(input.shape)}, expected [N, C, *]")
    for key, tensor in tensors.items():
        if tensor is not None and (tensor.dim() != 1 or tensor.shape[0] != input.shape[1]):
            raise RuntimeError(f"{name}: {key} is {list(tensor.shape)}, expected [{input.shape[1]}], input's channels")
    parameters.check_device(name, input, **tensors)


def forward(input, weight, bias, outputs, shape: Shape, eps: float, given: bool) -> None:
    """Fills `outputs`: output and, unless they are `given`, mean, rstd and, if it is there, variance [sets]."""
    input, weight, bias = input.contiguous(memory_format=memory_format_of(input)), packed(weight), packed(bias)
    _extension._C.channel_norm_forward(
        *map(address, (input, weight, bias, *outputs)),
        shape,
        eps,
        given,
        _extension.DTYPE_CODES[input.dtype],
        _extension.DTYPE_CODES[dtype_of(input, weight, bias)],
        torch.get_num_threads(),
    )


def backward(grads, input, weight, bias, mean, rstd, shape: Shape, given: bool, needs):
    """The gradients of input, weight and bias, None where they aren't needed; grads: of output, mean and variance."""
    layout = memory_format_of(input)
    input, weight = input.contiguous(memory_format=layout), packed(weight)
    grads = grads[0].contiguous(memory_format=layout), *map(packed, grads[1:])
    dtype = dtype_of(input, weight, bias)
    grad_input = torch.empty_like(input, memory_format=layout) if needs[0] else None
    found = [input.new_empty(shape.channels, dtype=dtype) if needed else None for needed in needs[1:3]]
    _extension._C.channel_norm_backward(
        *map(address, (*grads, input, weight if needs[0] else None, mean, rstd, grad_input, *found)),
        shape,
        given,
        _extension.DTYPE_CODES[input.dtype],
        _extension.DTYPE_CODES[dtype],
        torch.get_num_threads(),
    )
    return grad_input, *found
