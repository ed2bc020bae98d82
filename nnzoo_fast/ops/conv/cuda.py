"""`conv` on the kernels of `csrc/ops/conv/conv_cuda.cu`."""

import math

import torch

from nnzoo_fast._extension import DTYPE_CODES
from nnzoo_fast.backends import Verdict, address
from nnzoo_fast.cuda_support import allows_tf32, call
from nnzoo_fast.ops.conv.cpu import numbers_of, strides_of
from nnzoo_fast.ops.conv.outputs import allocate, output_size

MOST = 2**31
"""Pixels and taps are counted in 32 bits."""


def supports(input, weight, bias, stride, padding, dilation, groups) -> Verdict:
    places = input.shape[0] * math.prod(input.shape[2:])
    pixels = input.shape[0] * math.prod(output_size(input, weight, stride, padding, dilation))
    taps = max(weight.shape[:2]) * math.prod(weight.shape[2:])
    if max(places, pixels, taps) >= MOST:
        return False, f"{max(places, pixels, taps)} pixels or taps, these kernels count to {MOST}"
    return True, ""


def tf32_for(tensor: torch.Tensor) -> bool:
    """torch has a flag of its own for convolutions on a GPU; the emulator obeys the one for products."""
    return torch.backends.cudnn.allow_tf32 if tensor.is_cuda else allows_tf32()


def forward(input, weight, bias, stride, padding, dilation, groups, training):
    outputs = allocate(input, weight, bias, stride, padding, dilation, groups, training)
    weight = weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    call(
        input,
        "conv_forward",
        input.data_ptr(),
        weight.data_ptr(),
        address(bias),
        outputs[0].data_ptr(),
        numbers_of(input, weight, outputs[0], stride, padding, dilation, groups),
        strides_of(input),
        strides_of(outputs[0]),
        DTYPE_CODES[input.dtype],
        tf32_for(input),
    )
    return outputs


def backward(grads, args, outputs, needs):
    input, weight, bias, stride, padding, dilation, groups = args
    needs_input, needs_weight, needs_bias = needs
    grad, weight = grads[0], weight.contiguous() if needs_input else weight
    grad_input = grad.new_empty(input.shape) if needs_input else None
    grad_weight = grad.new_empty(weight.shape) if needs_weight else None
    grad_bias = grad.new_empty(weight.shape[:1]) if needs_bias else None
    call(
        grad,
        "conv_backward",
        grad.data_ptr(),
        input.data_ptr(),
        weight.data_ptr(),
        address(grad_input),
        address(grad_weight),
        address(grad_bias),
        numbers_of(input, weight, grad, stride, padding, dilation, groups),
        strides_of(grad),
        strides_of(input),
        strides_of(grad if grad_input is None else grad_input),
        DTYPE_CODES[grad.dtype],
        tf32_for(grad),
    )
    return grad_input, grad_weight, grad_bias
