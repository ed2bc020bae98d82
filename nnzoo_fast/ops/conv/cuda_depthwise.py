"""Depthwise calls of the last CUDA rung: each group has one input channel."""

import math

import torch

from nnzoo_fast._extension import DTYPE_CODES
from nnzoo_fast.activations import ACTIVATION_CODES
from nnzoo_fast.cuda_support import call, module_of
from nnzoo_fast.ops.conv.channels_last import (
    Laid,
    Result,
    lay_image,
    lay_weight,
    lies_in_units,
    pack_of,
    parts_of,
    sum_parts,
    sums_like,
)
from nnzoo_fast.ops.conv.cpu import strides_of

LANES = 32
"""Packs of channels that a block takes at most."""
TAPS = 3
"""Taps of a line, and lines, that a thread sums for the gradient of the weight."""


def is_depthwise(numbers: tuple[int, ...]) -> bool:
    _, in_channels, _, groups = numbers[:4]
    return groups == in_channels > 1


def _reads_packs(image, numbers) -> bool:
    """One output channel for each input channel, channels adjacent in whole packs, and windows that 32 bits count."""
    pack, places = pack_of(image), numbers[0] * max(math.prod(numbers[4:7]), math.prod(numbers[10:13]))
    return numbers[1] == numbers[2] and numbers[1] % pack == 0 and places < 2**31 and lies_in_units(image, pack)


def takes(image, weight, numbers, back: bool) -> bool:
    if _reads_packs(image, numbers):
        return True
    return module_of(image).conv_depthwise_planes_fit(numbers, back, DTYPE_CODES[image.dtype])


def run(image, weight, result: Result, numbers, back: bool) -> None:
    """Forward, or back to the gradient of the input."""
    if not _reads_packs(image, numbers):
        _call("conv_depthwise_planes", image, weight.contiguous(), result, numbers, back)
        return
    laid = lay_weight(weight.transpose(0, 1), 1, numbers[1] // pack_of(image), pack_of(image), back=False)
    if lies_in_units(result.image, pack_of(image)):
        _call("conv_depthwise_packs", image, laid, result, numbers, back)
        return
    wanted = [tensor for tensor in (result.image, result.before) if tensor is not None]
    adjacent = [_adjacent_like(tensor) for tensor in wanted]
    _call(
        "conv_depthwise_packs",
        image,
        laid,
        Result(adjacent[0], result.bias, *adjacent[1:], activation=result.activation),
        numbers,
        back,
    )
    for tensor, other in zip(wanted, adjacent, strict=True):
        tensor.copy_(other)


def _adjacent_like(image: torch.Tensor) -> torch.Tensor:
    """An empty image of the same shape with adjacent channels."""
    batch, channels, *space = image.shape
    return image.new_empty((batch, *space, channels)).movedim(-1, 1)


def _call(kernel, image, weight, result: Result, numbers, back) -> None:
    call(
        result.image,
        kernel,
        image.data_ptr(),
        weight.data_ptr(),
        *result.addresses(),
        numbers,
        strides_of(image),
        strides_of(result.image),
        back,
        ACTIVATION_CODES[result.activation],
        DTYPE_CODES[result.image.dtype],
    )


def find_grad_weight(grad: Laid, input: torch.Tensor, grad_weight: torch.Tensor, numbers) -> None:
    """`grad`: laid out as one group."""
    multiplier = numbers[2] // numbers[1]
    image = lay_image(input if multiplier == 1 else input.repeat_interleave(multiplier, 1), 1)
    depth, height, width = numbers[7:10]
    packs = grad.units
    tiles = -(-packs // LANES) * -(-depth * height // TAPS) * -(-width // TAPS)
    parts = parts_of(numbers[0] * math.prod(numbers[10:13]), tiles, grad_weight)
    taps = depth * height * width
    partial = sums_like(grad_weight, (parts[0], taps, grad.channels))
    call(
        grad_weight,
        "conv_depthwise_weight",
        grad.tensor.data_ptr(),
        image.tensor.data_ptr(),
        partial.data_ptr(),
        numbers,
        (grad.channels, image.units, image.unit),
        grad.strides,
        image.strides,
        parts,
        DTYPE_CODES[grad_weight.dtype],
    )
    sum_parts(partial, grad_weight, (parts[0], 1, taps, grad.channels, grad_weight.shape[0]))
