"""What `max_pool` returns, and what its backward keeps."""

import math

import torch

from nnzoo_fast.ops.conv.outputs import memory_format_of
from nnzoo_fast.windows import pooled_size

MOST_TAPS = 256
"""So many taps are numbered by a byte."""


def by_byte(kernel) -> bool:
    return math.prod(kernel) <= MOST_TAPS


def output_shape(input, kernel, stride, padding, dilation, ceil_mode):
    return (*input.shape[:2], *pooled_size(input.shape[2:], kernel, stride, padding, dilation, ceil_mode))


def empty(input, shape, dtype):
    return torch.empty(shape, dtype=dtype, device=input.device, memory_format=memory_format_of(input))


def allocate(input, kernel, stride, padding, dilation, ceil_mode, minimum, training):
    """The output; for backward the chosen tap of each window, or the chosen position if the taps are too many."""
    shape = output_shape(input, kernel, stride, padding, dilation, ceil_mode)
    kept = torch.uint8 if by_byte(kernel) else torch.int64
    return empty(input, shape, input.dtype), empty(input, shape, kept) if training else None


def allocate_with_indices(input, kernel, stride, padding, dilation, ceil_mode, minimum, training):
    """The output and the chosen positions; for backward the chosen tap, if a byte can number it."""
    shape = output_shape(input, kernel, stride, padding, dilation, ceil_mode)
    chosen = None
    if training:
        chosen = empty(input, shape if by_byte(kernel) else (0,) * len(shape), torch.uint8)
    return empty(input, shape, input.dtype), empty(input, shape, torch.int64), chosen
