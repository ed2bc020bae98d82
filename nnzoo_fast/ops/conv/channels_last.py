"""What the last CUDA rung of `conv` reads: images and weights with adjacent channels, those of a group in whole units.

A tensor that already lies so is read in place; any other is laid out first, by a kernel that reads and writes it once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from nnzoo_fast._extension import DTYPE_CODES
from nnzoo_fast.backends import address
from nnzoo_fast.cuda_support import call, is_aligned
from nnzoo_fast.ops.conv.cpu import in_three

BLOCKS = 264
"""Two blocks to each of an H200's 132 multiprocessors."""
SLICES = 8
"""Fewer slices of 128 bytes than these don't pay a part of its own."""
MOST_PIXELS = 2**30
"""The pixels of a part are counted in 32 bits, behind those of its first image."""


class Laid(NamedTuple):
    """A tensor, the strides of its batch and space, and the units of one group's channels."""

    tensor: torch.Tensor
    strides: tuple[int, ...]
    units: int
    unit: int

    @property
    def channels(self) -> int:
        return self.units * self.unit


class Result(NamedTuple):
    """Where a product's sums go: bias and activation on the way, and the activation's argument to `before`."""

    image: torch.Tensor
    bias: torch.Tensor | None = None
    before: torch.Tensor | None = None
    activation: str = "none"

    def addresses(self) -> tuple[int, int, int]:
        return address(self.bias), self.image.data_ptr(), address(self.before)


def pack_of(tensor: torch.Tensor) -> int:
    return 16 // tensor.element_size()


def lies_in_units(image: torch.Tensor, unit: int) -> bool:
    """Whether the channels are adjacent and those of every pixel begin at a whole unit."""
    batch, channel, *space = image.stride()
    aligned = is_aligned(image, unit * image.element_size())
    return channel == 1 and aligned and all(stride % unit == 0 for stride in (batch, *space))


def lay_image(image: torch.Tensor, groups: int, half_units: bool = False) -> Laid:
    """[batch, channels, *space] with adjacent channels; `half_units`: four channels of 2 bytes may be a unit."""
    per_group = image.shape[1] // groups
    unit = pack_of(image)
    if half_units and per_group <= 4 < unit:
        unit = 4
    units = -(-per_group // unit)
    batch, channel, *space = image.stride()
    if units * unit == per_group and lies_in_units(image, unit):
        return Laid(image, (batch, *in_three(space, 0)), units, unit)
    sizes = in_three(image.shape[2:], 1)
    pixel = groups * units * unit
    laid = image.new_empty((image.shape[0], *sizes, pixel))
    call(
        image,
        "conv_lay",
        image.data_ptr(),
        laid.data_ptr(),
        (image.shape[0], groups, per_group, units * unit, *sizes),
        (batch, per_group * channel, channel, *in_three(space, 0)),
        (laid.stride(0), units * unit, pixel),
        DTYPE_CODES[image.dtype],
    )
    return Laid(laid, laid.stride()[:4], units, unit)


def lay_weight(weight: torch.Tensor, groups: int, units: int, unit: int, back: bool) -> torch.Tensor:
    """[groups, rows, taps, units * unit]: rows are output channels and units hold input channels; `back`: exchanged."""
    out_channels, in_channels = weight.shape[0] // groups, weight.shape[1]
    rows, channels = (in_channels, out_channels) if back else (out_channels, in_channels)
    taps, padded = math.prod(weight.shape[2:]), units * unit
    lies_so = not back and padded == channels and is_aligned(weight, 16)
    if lies_so and weight.movedim(1, -1).is_contiguous():
        return weight
    over_out, over_in, *space = weight.stride()
    row, channel = (over_in, over_out) if back else (over_out, over_in)
    laid = weight.new_empty((groups, rows, taps, padded))
    call(
        weight,
        "conv_lay",
        weight.data_ptr(),
        laid.data_ptr(),
        (rows, groups, channels, padded, *in_three(weight.shape[2:], 1)),
        (row, out_channels * over_out, channel, *in_three(space, 0)),
        (laid.stride(1), laid.stride(0), laid.stride(2)),
        DTYPE_CODES[weight.dtype],
    )
    return laid


def parts_of(pixels: int, tiles: int, like: torch.Tensor) -> tuple[int, int]:
    """How many parts fill the GPU with blocks when each has so many tiles, and the pixels of one."""
    slice_pixels = 128 // like.element_size()
    parts = max(1, -(-pixels // MOST_PIXELS), min(-(-BLOCKS // tiles), pixels // (SLICES * slice_pixels)))
    part_pixels = -(-pixels // parts // slice_pixels) * slice_pixels
    return -(-pixels // part_pixels), part_pixels


def sums_like(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Memory for sums of the tensor's dtype."""
    return tensor.new_empty(shape, dtype=torch.float64 if tensor.dtype == torch.float64 else torch.float32)


def sum_parts(partial: torch.Tensor, result: torch.Tensor, sizes: tuple[int, ...]) -> None:
    """`sizes`: parts, rows, taps, padded channels, channels; the result has the taps last."""
    call(result, "conv_sum_parts", partial.data_ptr(), result.data_ptr(), sizes, DTYPE_CODES[result.dtype])
