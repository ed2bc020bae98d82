"""`conv` on the kernels of `csrc/ops/conv/*_cuda.cu`."""

import math
from typing import NamedTuple

from nnzoo_fast._extension import DTYPE_CODES
from nnzoo_fast.activations import ACTIVATION_CODES
from nnzoo_fast.backends import Verdict, address
from nnzoo_fast.cuda_support import Kernels, call
from nnzoo_fast.ops.conv.cpu import numbers_of, strides_of
from nnzoo_fast.ops.conv.cuda_fast import backward, forward, tf32_for
from nnzoo_fast.ops.conv.outputs import allocate, output_size, through_activation
from nnzoo_fast.ops.linear.cuda import activation_gradient

__all__ = ["RUNGS", "backward", "forward", "supports"]

MOST = 2**31
"""The kernels count the places of an image and the taps of a group in 32 bits; the tiled rung those of a batch."""


def sizes(input, weight, stride, padding, dilation) -> tuple[int, int, int]:
    """Places of an input image, pixels of an output image, taps that one result sums over."""
    pixels = math.prod(output_size(input, weight, stride, padding, dilation))
    taps = max(weight.shape[:2]) * math.prod(weight.shape[2:])
    return math.prod(input.shape[2:]), pixels, taps


def supports(input, weight, bias, stride, padding, dilation, groups, activation) -> Verdict:
    places, pixels, taps = sizes(input, weight, stride, padding, dilation)
    if max(places, pixels, taps) >= MOST // 2:
        return False, f"{max(places, pixels, taps)} pixels of an image or taps, these kernels count to {MOST // 2}"
    return True, ""


def supports_tiled(input, weight, bias, stride, padding, dilation, groups, activation) -> Verdict:
    places, pixels, taps = sizes(input, weight, stride, padding, dilation)
    most = max(input.shape[0] * max(places, pixels), taps)
    if most >= MOST:
        return False, f"{most} pixels or taps, these kernels count to {MOST}"
    if max(groups, weight.shape[0] // groups // 64) >= 2**16:
        return False, f"{groups} groups of {weight.shape[0] // groups} output channels, a grid has 65535 tiles of them"
    return True, ""


def supports_naive(input, weight, bias, stride, padding, dilation, groups, activation) -> Verdict:
    places, pixels, _ = sizes(input, weight, stride, padding, dilation)
    blocks = max(input.shape[0], 1) * max(-(-places // 256) * input.shape[1], -(-pixels // 256) * weight.shape[0])
    if max(places, pixels, blocks) >= MOST:
        return (
            False,
            f"{max(places, pixels, blocks)} places of an image or blocks of 256, these kernels count to {MOST}",
        )
    return True, ""


class Ladder(NamedTuple):
    """The rungs that read every tensor where it lies."""

    tiled: bool

    def forward(self, input, weight, bias, stride, padding, dilation, groups, activation, training):
        output, preactivation = allocate(input, weight, bias, stride, padding, dilation, groups, activation, training)
        weight = weight.contiguous()
        bias = None if bias is None else bias.contiguous()
        call(
            input,
            "conv_forward",
            self.tiled,
            input.data_ptr(),
            weight.data_ptr(),
            address(bias),
            output.data_ptr(),
            address(preactivation),
            numbers_of(input, weight, output, stride, padding, dilation, groups),
            strides_of(input),
            strides_of(output),
            ACTIVATION_CODES[activation],
            DTYPE_CODES[input.dtype],
            tf32_for(input),
        )
        return output, preactivation

    def backward(self, grads, args, outputs, needs):
        input, weight, bias, stride, padding, dilation, groups, activation = args
        needs_input, needs_weight, needs_bias = needs
        grad = through_activation(activation_gradient, grads[0], outputs, activation)
        weight = weight.contiguous() if needs_input else weight
        grad_input = grad.new_empty(input.shape) if needs_input else None
        grad_weight = grad.new_empty(weight.shape) if needs_weight else None
        grad_bias = grad.new_empty(weight.shape[:1]) if needs_bias else None
        call(
            grad,
            "conv_backward",
            self.tiled,
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


_NAIVE, _TILED = Ladder(tiled=False), Ladder(tiled=True)
RUNGS = {
    "naive": Kernels(supports_naive, _NAIVE.forward, _NAIVE.backward),
    "tiled": Kernels(supports_tiled, _TILED.forward, _TILED.backward),
}
