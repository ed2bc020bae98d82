"""Calls of the kernels of `csrc/ops/channel_norm`, and what batch_norm and group_norm have in common."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports, wants_gradients
from nnzoo_fast.norms.rows import dtype_of, packed
from nnzoo_fast.ops.conv.outputs import memory_format_of

LITTLE, LITTLE_TRAINING = 2**16, 2**18
"""Values below which stock torch is done before our way to a kernel is."""


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


def statistics_like(input: torch.Tensor, *size: int) -> torch.Tensor:
    """Memory for numbers in the dtype that sums have."""
    return input.new_empty(size, dtype=torch.float64 if input.dtype == torch.float64 else torch.float32)


def supports(input: torch.Tensor, *parameters: torch.Tensor | None) -> Verdict:
    given = [parameter.dtype for parameter in parameters if parameter is not None]
    mixed = input.dtype == torch.bfloat16 and all(dtype == torch.float32 for dtype in given)
    if not mixed and any(dtype != input.dtype for dtype in given):
        return False, f"parameters of {given[0]} for an input of {input.dtype}"
    return cpu_supports(input, "channel_norm_forward")


def pays(input: torch.Tensor, *parameters: torch.Tensor | None) -> Verdict:
    """For sets that are single planes, or planes far apart: adjacent planes stock torch visits once too."""
    least = LITTLE_TRAINING if wants_gradients(input, *parameters) else LITTLE
    if input.numel() < least:
        return False, f"less than {least} values: done before our way to a kernel is"
    if input.dim() == 2 or not input.is_contiguous():
        return False, "adjacent channels: stock torch sweeps as often, and is as fast"
    return True, "a set's planes are read from memory once and written once"


def check_channels(name: str, input: torch.Tensor, **tensors: torch.Tensor | None) -> None:
    """Raises what torch raises where a tensor isn't [C]."""
    if input.dim() < 2:
        raise RuntimeError(f"{name}: input is {list(input.shape)}, expected [N, C, *]")
    for key, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.dim() != 1 or tensor.shape[0] != input.shape[1]:
            raise RuntimeError(f"{name}: {key} is {list(tensor.shape)}, expected [{input.shape[1]}], input's channels")
        if tensor.device != input.device:
            raise RuntimeError(f"{name}: {key} is on {tensor.device}, expected input's {input.device}")


def forward(input, weight, bias, output, mean, rstd, variance, shape: Shape, eps: float, given: bool) -> None:
    """Fills output and, unless they are `given`, mean, rstd and, if it is there, variance [sets]."""
    input, weight, bias = input.contiguous(memory_format=memory_format_of(input)), packed(weight), packed(bias)
    _extension._C.channel_norm_forward(
        input.data_ptr(),
        address(weight),
        address(bias),
        output.data_ptr(),
        mean.data_ptr(),
        rstd.data_ptr(),
        address(variance),
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
    grad, grad_mean, grad_variance = grads[0].contiguous(memory_format=layout), *map(packed, grads[1:])
    dtype = dtype_of(input, weight, bias)
    grad_input = torch.empty_like(input, memory_format=layout) if needs[0] else None
    grad_weight, grad_bias = (grad.new_empty(shape.channels, dtype=dtype) if needed else None for needed in needs[1:3])
    _extension._C.channel_norm_backward(
        grad.data_ptr(),
        address(grad_mean),
        address(grad_variance),
        input.data_ptr(),
        address(weight if needs[0] else None),
        mean.data_ptr(),
        rstd.data_ptr(),
        address(grad_input),
        address(grad_weight),
        address(grad_bias),
        shape,
        given,
        _extension.DTYPE_CODES[grad.dtype],
        _extension.DTYPE_CODES[dtype],
        torch.get_num_threads(),
    )
    return grad_input, grad_weight, grad_bias
