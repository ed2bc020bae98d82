"""What `max_pool` returns, and what its backward keeps."""

import math

import torch

from nnzoo_fast.pooling.calls import outputs_like
from nnzoo_fast.pooling.windows import pooled_size

MOST_TAPS = 256
"""So many taps are numbered by a byte."""


def by_byte(kernel) -> bool:
    return math.prod(kernel) <= MOST_TAPS


def allocate(input, kernel, stride, padding, dilation, ceil_mode, minimum, training):
    """The output; for backward the chosen tap of each window, or the chosen position if the taps are too many."""
    size = pooled_size(input.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    kept = torch.uint8 if by_byte(kernel) else torch.int64
    return outputs_like(input, size), outputs_like(input, size, kept) if training else None


def allocate_with_indices(input, kernel, stride, padding, dilation, ceil_mode, minimum, training):
    """The output and the chosen positions; for backward the chosen tap, if a byte can number it."""
    size = pooled_size(input.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    chosen = None
    if training:
        chosen = outputs_like(input, size if by_byte(kernel) else [0] * len(size), torch.uint8)
    return outputs_like(input, size), outputs_like(input, size, torch.int64), chosen
