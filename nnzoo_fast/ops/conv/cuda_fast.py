"""The last CUDA rung of `conv`: which kernels a call goes to, and the memory that they want."""

import math

import torch

from nnzoo_fast._extension import DTYPE_CODES
from nnzoo_fast.activations import ACTIVATION_CODES
from nnzoo_fast.cuda_support import allows_tf32, call, module_of
from nnzoo_fast.ops.conv import cuda_depthwise as depthwise
from nnzoo_fast.ops.conv.channels_last import (
    Laid,
    Result,
    lay_image,
    lay_weight,
    pack_of,
    parts_of,
    sum_parts,
    sums_like,
)
from nnzoo_fast.ops.conv.cpu import in_three, numbers_of, strides_of
from nnzoo_fast.ops.conv.outputs import allocate, through_activation
from nnzoo_fast.ops.linear.cuda import activation_gradient

REGION_BYTES = 64
"""Of the 128 bytes of channels that a row of a region holds."""


def tf32_for(tensor: torch.Tensor) -> bool:
    """torch has a flag of its own for convolutions on a GPU; the emulator obeys the one for products."""
    return torch.backends.cudnn.allow_tf32 if tensor.is_cuda else allows_tf32()


def forward(input, weight, bias, stride, padding, dilation, groups, activation, training):
    output, preactivation = allocate(input, weight, bias, stride, padding, dilation, groups, activation, training)
    if output.numel():
        numbers = numbers_of(input, weight, output, stride, padding, dilation, groups)
        result = Result(output, None if bias is None else bias.contiguous(), preactivation, activation)
        _windows(input, weight, result, numbers, back=False)
    return output, preactivation


def _windows(image, weight, result, numbers, back, laid=None) -> None:
    """Forward, or back to the gradient of the input; `laid`: the image as the product reads it, if that is there."""
    if depthwise.is_depthwise(numbers) and depthwise.takes(image, weight, numbers, back):
        depthwise.run(image, weight, result, numbers, back)
    elif laid is None and _reads_regions(image, numbers, back):
        _direct(image, weight, result, numbers, back)
    else:
        laid = lay_image(image, numbers[3], half_units=True) if laid is None else laid
        _product(laid, weight, result, numbers, back)


def _reads_regions(image, numbers, back: bool) -> bool:
    """Whether the image is better turned while it is staged than laid out first: it would have to be laid out, and its
    channels fill the rows of a region so far that the tensor cores don't multiply zeros."""
    per_group = image.shape[1] // numbers[3]
    if per_group * image.element_size() < REGION_BYTES or image.stride(1) == 1:
        return False
    return module_of(image).conv_direct_fits(numbers, back, DTYPE_CODES[image.dtype])


def _direct(image, weight, result: Result, numbers, back) -> None:
    unit = pack_of(image)
    units = -(-(image.shape[1] // numbers[3]) // unit)
    laid_weight = lay_weight(weight, numbers[3], units, unit, back)
    call(
        result.image,
        "conv_direct",
        image.data_ptr(),
        laid_weight.data_ptr(),
        *result.addresses(),
        numbers,
        units,
        strides_of(image),
        strides_of(result.image),
        back,
        ACTIVATION_CODES[result.activation],
        DTYPE_CODES[result.image.dtype],
        tf32_for(result.image),
    )


def _product(image: Laid, weight, result: Result, numbers, back) -> None:
    laid_weight = lay_weight(weight, numbers[3], image.units, image.unit, back)
    call(
        result.image,
        "conv_product",
        image.tensor.data_ptr(),
        laid_weight.data_ptr(),
        *result.addresses(),
        numbers,
        (image.units, image.unit),
        image.strides,
        strides_of(result.image),
        back,
        ACTIVATION_CODES[result.activation],
        DTYPE_CODES[result.image.dtype],
        tf32_for(result.image),
    )


def backward(grads, args, outputs, needs):
    input, weight, bias, stride, padding, dilation, groups, activation = args
    needs_input, needs_weight, needs_bias = needs
    grad = grads[0]
    grad_input = grad.new_empty(input.shape) if needs_input else None
    grad_weight = grad.new_empty(weight.shape) if needs_weight else None
    grad_bias = grad.new_empty(weight.shape[:1]) if needs_bias else None
    found = grad_input, grad_weight, grad_bias
    if grad.numel() == 0:
        return tuple(None if tensor is None else tensor.zero_() for tensor in found)
    grad = through_activation(activation_gradient, grad, outputs, activation)
    numbers = numbers_of(input, weight, grad, stride, padding, dilation, groups)
    is_depthwise = depthwise.is_depthwise(numbers)
    laid = lay_image(grad, 1 if is_depthwise else groups) if needs_weight or needs_bias else None
    if needs_input and grad_input.numel():
        _windows(grad, weight, Result(grad_input), numbers, back=True, laid=None if is_depthwise else laid)
    if needs_weight and grad_weight.numel() and is_depthwise:
        depthwise.find_grad_weight(laid, input, grad_weight, numbers)
    elif needs_weight and grad_weight.numel():
        _find_grad_weight(laid, lay_image(input, groups, half_units=True), grad_weight, numbers)
    if needs_bias:
        _find_grad_bias(laid, grad, grad_bias, 1 if is_depthwise else groups)
    return found


def _find_grad_weight(grad: Laid, image: Laid, grad_weight, numbers) -> None:
    groups, rows, taps = numbers[3], grad_weight.shape[0] // numbers[3], math.prod(grad_weight.shape[2:])
    pixels = numbers[0] * math.prod(numbers[10:13])
    tiles = groups * -(-rows // 128) * -(-taps * image.channels // 128)
    parts = parts_of(pixels, tiles, grad_weight)
    partial = sums_like(grad_weight, (parts[0], groups, rows, taps, image.channels))
    call(
        grad_weight,
        "conv_weight_product",
        grad.tensor.data_ptr(),
        image.tensor.data_ptr(),
        partial.data_ptr(),
        numbers,
        (grad.channels, image.units, image.unit),
        grad.strides,
        image.strides,
        parts,
        DTYPE_CODES[grad_weight.dtype],
        tf32_for(grad_weight),
    )
    sum_parts(partial, grad_weight, (parts[0], groups * rows, taps, image.channels, grad_weight.shape[1]))


def _find_grad_bias(laid: Laid, grad, grad_bias, groups) -> None:
    size = in_three(grad.shape[2:], 1)
    channels = groups * laid.channels
    parts = parts_of(grad.shape[0] * math.prod(size), -(-channels // (8 * pack_of(grad))), grad)
    partial = sums_like(grad, (parts[0], channels))
    call(
        grad,
        "conv_bias_parts",
        laid.tensor.data_ptr(),
        partial.data_ptr(),
        (grad.shape[0], channels, *size),
        laid.strides,
        parts,
        DTYPE_CODES[grad.dtype],
    )
    sum_parts(partial, grad_bias, (parts[0], groups, 1, laid.channels, grad_bias.shape[0] // groups))
