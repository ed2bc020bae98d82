"""The sizes and the memory of what `conv` returns."""

import torch

from nnzoo_fast.activations import kept_of, kept_outputs


def output_size(input, weight, stride, padding, dilation) -> list[int]:
    size = []
    for i, (kernel, step, gap) in enumerate(zip(weight.shape[2:], stride, dilation, strict=True)):
        free = input.shape[2 + i] + padding[2 * i] + padding[2 * i + 1] - gap * (kernel - 1) - 1
        size.append(free // step + 1)
    return size


def allocate(input, weight, bias, stride, padding, dilation, groups, activation, training):
    """Channels-last for a channels-last input, else contiguous."""
    shape = (input.shape[0], weight.shape[0], *output_size(input, weight, stride, padding, dilation))
    output = torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format_of(input))
    return output, torch.empty_like(output) if training and kept_outputs(activation)[1] else None


def keeps(args, needs):
    needs_input, needs_weight, _ = needs
    activation = args[-1]
    if activation == "none":
        return (needs_weight, needs_input, False), (False, False)
    # The reference rebuilds the pre-activation from every input, as soon as the activation has a curvature.
    return (True, True, True), kept_outputs(activation)


def through_activation(gradient, grad, outputs, activation):
    """The gradient of the activation's argument from `grad`, that of its result, [batch, channels, *size].

    `gradient` is the `activation_gradient` of a backend of `linear`.
    """
    if activation == "none":
        return grad
    kept = kept_of(outputs, activation)
    layout = memory_format_of(kept)
    grad, kept = (tensor.contiguous(memory_format=layout) for tensor in (grad, kept))
    if layout is torch.contiguous_format:
        rows = (grad.shape[0] * grad.shape[1], grad.shape[2:].numel())
        return gradient(grad.view(rows), kept.view(rows), activation).view(grad.shape)
    last = [tensor.movedim(1, -1) for tensor in (grad, kept)]
    found = gradient(*(tensor.reshape(-1, grad.shape[1]) for tensor in last), activation)
    return found.view(last[0].shape).movedim(-1, 1)


def memory_format_of(input: torch.Tensor) -> torch.memory_format:
    channels_last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(input.dim())
    if channels_last is None or input.is_contiguous() or not input.is_contiguous(memory_format=channels_last):
        return torch.contiguous_format
    return channels_last
