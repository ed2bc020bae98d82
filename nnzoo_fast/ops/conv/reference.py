"""What `conv` means, without PyTorch's convolutions."""

import torch.nn.functional as F

from nnzoo_fast.activations import ACTIVATIONS


def reference(input, weight, bias, stride, padding, dilation, groups, activation="none"):
    """Every window of the padded input as a row, times the kernels as columns."""
    batch, channels, *_ = input.shape
    out_channels, _, *kernel = weight.shape
    windows = F.pad(input, pads_from_last_dimension(padding))
    for i, (size, step, gap) in enumerate(zip(kernel, stride, dilation, strict=True)):
        windows = windows.unfold(2 + i, gap * (size - 1) + 1, step)[..., ::gap]
    # [batch, channels, *output, *kernel]
    n = len(kernel)
    output = windows.shape[2 : 2 + n]
    windows = windows.reshape(batch, groups, channels // groups, output.numel(), *kernel)
    rows = windows.movedim(2, 3).flatten(3)  # [batch, groups, pixels, channels / groups * taps]
    columns = weight.reshape(groups, out_channels // groups, rows.shape[-1]).transpose(1, 2)
    result = (rows @ columns).transpose(2, 3).reshape(batch, out_channels, *output)
    return ACTIVATIONS[activation](result if bias is None else result + bias.reshape(-1, *[1] * n))


def pads_from_last_dimension(padding):
    """(begin, end) pairs from the first dimension on, in the order that `F.pad` wants."""
    return [pad for i in reversed(range(0, len(padding), 2)) for pad in padding[i : i + 2]]
