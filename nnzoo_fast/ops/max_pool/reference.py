"""What `max_pool` means, without PyTorch's poolings."""

import math

import torch

from nnzoo_fast.pooling.windows import pooled_size, unfolded


def reference(input, kernel, stride, padding, dilation, ceil_mode, minimum):
    return chosen(input, kernel, stride, padding, dilation, ceil_mode, minimum)[0]


def chosen(input, kernel, stride, padding, dilation, ceil_mode, minimum):
    """The extreme value of each window, and its position among all elements of the space, row by row."""
    size = input.shape[2:]
    count = pooled_size(size, kernel, stride, padding, dilation, ceil_mode)
    settings = kernel, stride, padding, dilation, count
    windows = unfolded(reverse(input) if minimum else input, *settings, filler=worst_of(input.dtype))
    position = torch.arange(math.prod(size), device=input.device, dtype=torch.float64).reshape(1, 1, *size)
    positions = unfolded(position, *settings, filler=-1.0).long().expand(windows.shape)
    values, positions = largest(windows, positions, positions >= 0)
    return reverse(values) if minimum else values, positions


def largest(windows, positions, inside):
    """Of each row of `windows` the largest value among those `inside`, and its position: of equal ones the first, of
    NaN the last."""
    best = windows.detach().masked_fill(~inside, worst_of(windows.dtype)).amax(-1, keepdim=True)
    first = (inside & (windows == best)).long().argmax(-1, keepdim=True)
    nan = inside & windows.isnan()
    last_nan = windows.shape[-1] - 1 - nan.flip(-1).long().argmax(-1, keepdim=True)
    tap = torch.where(nan.any(-1, keepdim=True), last_nan, first)
    return windows.gather(-1, tap).squeeze(-1), positions.gather(-1, tap).squeeze(-1)


def worst_of(dtype):
    return -math.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def reverse(input):
    """`input` in reverse order: the least integer has no negative, and an unsigned one none at all."""
    return -input if input.is_floating_point() else input.bitwise_not()
