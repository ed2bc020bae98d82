"""The sizes and the memory of what `conv_transpose` returns."""

import torch

from nnzoo_fast.ops.conv.outputs import memory_format_of


def output_size(size, kernel, stride, padding, output_padding, dilation) -> list[int]:
    return [
        (size[i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernel[i] - 1) + output_padding[i] + 1
        for i in range(len(kernel))
    ]


def allocate(input, weight, bias, stride, padding, output_padding, groups, dilation, training):
    """Channels-last for a channels-last input, else contiguous."""
    size = output_size(input.shape[2:], weight.shape[2:], stride, padding, output_padding, dilation)
    shape = (input.shape[0], weight.shape[1] * groups, *size)
    return (torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format_of(input)),)
