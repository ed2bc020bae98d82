"""`conv` on the kernels of `csrc/ops/conv`."""

import math

import torch

from nnzoo_fast import _extension, tables
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.conv.outputs import allocate

MEASURED = {("AuthenticAMD", 25)}
"""Vendor and family of the CPUs on which float32 was compared with oneDNN."""


def supports(input, weight, bias, stride, padding, dilation, groups) -> Verdict:
    return cpu_supports(input, "conv_forward")


def pays(input, weight, bias, stride, padding, dilation, groups) -> Verdict:
    """Zen 4, forward and training, one thread and two, against oneDNN (float64: torch's own im2col)."""
    per_group, *kernel = weight.shape[1:]
    depthwise = groups > 1 and per_group == 1
    if input.dtype == torch.float64:
        if depthwise or (per_group >= 64 and max(kernel) > 1):
            return True, "stock torch writes the im2col matrix in float64: 1.2 times our time, depthwise 2.8 to 5"
        return False, "few products for each value: stock torch's float64 convolution is as fast"
    if input.dtype == torch.bfloat16:
        if depthwise:
            return True, "depthwise planes stay in the first-level cache: 1.1 to 1.3 times as fast as oneDNN"
        return False, "oneDNN uses the CPU's bfloat16 instructions: twice as fast"
    if tables.CPU not in MEASURED:
        return False, "no measurements of this CPU are shipped: oneDNN is trusted"
    if not input.is_contiguous():
        return False, "oneDNN reads channels-last images without reordering them"
    # Every output position meets the whole weight.
    products = input.shape[0] * math.prod(input.shape[2:]) // math.prod(stride) * math.prod(weight.shape)
    if depthwise and products >= 2**18:
        return True, "depthwise planes stay in the first-level cache: 1.0 to 1.6 times as fast as oneDNN"
    if groups > 1 and per_group <= 8 and products >= 2**20:
        return True, "few channels a group: 1.4 to 1.7 times as fast as oneDNN"
    if max(kernel) == 1 and groups == 1 and products >= 2**25:
        return True, "1x1: a product that reads the image in place, 1.0 to 1.3 times as fast as oneDNN"
    return False, "oneDNN's direct convolution is as near to the FMA peak, or nearer"


def in_three(values, filler: int) -> tuple[int, ...]:
    """A number per spatial dimension, as for a 3d convolution."""
    return (*(filler,) * (3 - len(values)), *values)


def numbers_of(input, weight, output, stride, padding, dilation, groups) -> tuple[int, ...]:
    """`ConvShape` of csrc/ops/conv/conv.h."""
    return (
        input.shape[0],
        input.shape[1],
        weight.shape[0],
        groups,
        *in_three(input.shape[2:], 1),
        *in_three(weight.shape[2:], 1),
        *in_three(output.shape[2:], 1),
        *in_three(stride, 1),
        *in_three(padding[::2], 0),
        *in_three(dilation, 1),
    )


def strides_of(tensor: torch.Tensor) -> tuple[int, ...]:
    batch, channel, *space = tensor.stride()
    return (batch, channel, *in_three(space, 0))


def forward(input, weight, bias, stride, padding, dilation, groups, training, kernel="conv_forward"):
    outputs = allocate(input, weight, bias, stride, padding, dilation, groups, training)
    weight = weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    getattr(_extension._C, kernel)(
        input.data_ptr(),
        weight.data_ptr(),
        address(bias),
        outputs[0].data_ptr(),
        numbers_of(input, weight, outputs[0], stride, padding, dilation, groups),
        strides_of(input),
        strides_of(outputs[0]),
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )
    return outputs


def forward_im2col(input, weight, bias, stride, padding, dilation, groups):
    """The rung below on the ladder: the im2col matrix is written out."""
    args = (input.contiguous(), weight, bias, stride, padding, dilation, groups)
    return forward(*args, training=False, kernel="conv_forward_im2col")[0]


def backward(grads, args, outputs, needs):
    input, weight, bias, stride, padding, dilation, groups = args
    needs_input, needs_weight, needs_bias = needs
    grad, weight = grads[0], weight.contiguous() if needs_input else weight
    grad_input = grad.new_empty(input.shape) if needs_input else None
    grad_weight = grad.new_empty(weight.shape) if needs_weight else None
    grad_bias = grad.new_empty(weight.shape[:1]) if needs_bias else None
    _extension._C.conv_backward(
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
        _extension.DTYPE_CODES[grad.dtype],
        torch.get_num_threads(),
    )
    return grad_input, grad_weight, grad_bias
