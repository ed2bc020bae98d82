"""What `conv_transpose` means, without PyTorch's convolutions."""

import torch.nn.functional as F

from nnzoo_fast.ops.conv.reference import reference as convolve


def reference(input, weight, bias, stride, padding, output_padding, groups, dilation):
    """A convolution with stride 1 of the input, `stride - 1` zeros between its elements, by the mirrored kernel.

    From both ends of the result `padding` elements are cut off.
    """
    kernel = weight.shape[2:]
    dimensions = range(2, input.dim())
    pads = []
    for i, step in zip(dimensions, stride, strict=True):
        input = F.pad(input.unsqueeze(i + 1), [0, 0] * (input.dim() - i - 1) + [0, step - 1]).flatten(i, i + 1)
        # Of the zeros behind the last element, only those that output_padding asks for stay.
        reach = dilation[i - 2] * (kernel[i - 2] - 1)
        pads = [reach, reach + output_padding[i - 2] - (step - 1), *pads]
    in_channels, out_per_group = weight.shape[:2]
    mirrored = weight.flip(tuple(dimensions)).reshape(groups, in_channels // groups, out_per_group, *kernel)
    mirrored = mirrored.transpose(1, 2).reshape(groups * out_per_group, in_channels // groups, *kernel)
    ones, zeros = [1] * len(kernel), [0, 0] * len(kernel)
    full = convolve(F.pad(input, pads), mirrored, bias, ones, zeros, dilation, groups)
    for i, cut in zip(dimensions, padding, strict=True):
        full = full.narrow(i, cut, full.shape[i] - 2 * cut)
    return full
