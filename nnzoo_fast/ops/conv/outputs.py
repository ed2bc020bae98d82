"""The sizes and the memory of what `conv` returns."""

import torch


def output_size(input, weight, stride, padding, dilation) -> list[int]:
    size = []
    for i, (kernel, step, gap) in enumerate(zip(weight.shape[2:], stride, dilation, strict=True)):
        free = input.shape[2 + i] + padding[2 * i] + padding[2 * i + 1] - gap * (kernel - 1) - 1
        size.append(free // step + 1)
    return size


def allocate(input, weight, bias, stride, padding, dilation, groups, training):
    """Channels-last for a channels-last input, else contiguous."""
    shape = (input.shape[0], weight.shape[0], *output_size(input, weight, stride, padding, dilation))
    return (torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format_of(input)),)


def memory_format_of(input: torch.Tensor) -> torch.memory_format:
    channels_last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(input.dim())
    if channels_last is None or input.is_contiguous() or not input.is_contiguous(memory_format=channels_last):
        return torch.contiguous_format
    return channels_last
