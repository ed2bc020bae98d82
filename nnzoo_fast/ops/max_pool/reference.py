"""What `max_pool` means, without PyTorch's poolings."""

import math

import torch

from nnzoo_fast.windows import pooled_size, unfolded


def reference(input, kernel, stride, padding, dilation, ceil_mode, minimum):
    return chosen(input, kernel, stride, padding, dilation, ceil_mode, minimum)[0]


def chosen(input, kernel, stride, padding, dilation, ceil_mode, minimum):
    """The extreme value of each window, and its position among all elements of the space, row by row."""
    size = input.shape[2:]
    count = pooled_size(size, kernel, stride, padding, dilation, ceil_mode)
    settings = kernel, stride, padding, dilation, count
    windows = unfolded(-input if minimum else input, *settings, filler=-math.inf)
    position = torch.arange(math.prod(size), device=input.device, dtype=torch.float64).reshape(1, 1, *size)
    positions = unfolded(position, *settings, filler=-1.0).long().expand(windows.shape)
    inside = positions >= 0
    nan = inside & windows.isnan()
    largest = windows.detach().masked_fill(~inside, -math.inf).amax(-1, keepdim=True)
    first = (inside & (windows == largest)).long().argmax(-1, keepdim=True)
    last_nan = windows.shape[-1] - 1 - nan.flip(-1).long().argmax(-1, keepdim=True)
    tap = torch.where(nan.any(-1, keepdim=True), last_nan, first)
    values = windows.gather(-1, tap).squeeze(-1)
    return -values if minimum else values, positions.gather(-1, tap).squeeze(-1)
