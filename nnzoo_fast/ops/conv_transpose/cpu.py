"""`conv_transpose` on the kernels of `csrc/ops/conv_transpose`, which are those of `conv` the other way round."""

import math

import torch

from nnzoo_fast import _extension, tables
from nnzoo_fast.activations import ACTIVATION_CODES
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.conv.cpu import numbers_of, strides_of
from nnzoo_fast.ops.conv_transpose.outputs import allocate


def supports(input, weight, bias, stride, padding, output_padding, groups, dilation) -> Verdict:
    return cpu_supports(input, "conv_transpose_forward")


def kind_of(input, weight, bias, stride, padding, output_padding, groups, dilation) -> tuple[str, int]:
    """The kind of call that a table tells apart, and its multiply-adds."""
    per_group, *kernel = weight.shape[1:]
    if groups > 1 and per_group == 1:
        shape = "depthwise"
    elif per_group <= 32:
        shape = "few channels" if per_group <= 8 else "some channels"
    else:
        shape = "patches" if kernel == list(stride) else "dense"
    layout = "" if input.is_contiguous() else " channels-last"
    kind = f"{tables.DTYPE_NAMES[input.dtype]} {shape} {len(kernel)}d{layout} {tables.way(input, weight, bias)}"
    # Every input position meets the whole weight.
    return kind, input.shape[0] * math.prod(input.shape[2:]) * math.prod(weight.shape)


def pays(input, weight, bias, stride, padding, output_padding, groups, dilation) -> Verdict:
    kind, work = kind_of(input, weight, bias, stride, padding, output_padding, groups, dilation)
    if groups > 1 and weight.shape[1] == 1:
        rule = True, "bound by memory: planes stay in the first-level cache"
    else:
        rule = False, "no measurements of this CPU are at hand: stock torch's kernel is trusted"
    return tables.pays("conv_transpose", kind, work, rule)


def shape_numbers(input, weight, output, stride, padding, groups, dilation) -> tuple[int, ...]:
    """`ConvShape` of the convolution that leads from the output back to the input."""
    both_ends = [pad for pad in padding for _ in range(2)]
    return numbers_of(output, weight, input, stride, both_ends, dilation, groups)


def forward(input, weight, bias, stride, padding, output_padding, groups, dilation, training):
    outputs = allocate(input, weight, bias, stride, padding, output_padding, groups, dilation, training)
    weight = weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    _extension._C.conv_transpose_forward(
        input.data_ptr(),
        weight.data_ptr(),
        address(bias),
        outputs[0].data_ptr(),
        0,
        shape_numbers(input, weight, outputs[0], stride, padding, groups, dilation),
        strides_of(input),
        strides_of(outputs[0]),
        ACTIVATION_CODES["none"],
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )
    return outputs


def backward(grads, args, outputs, needs):
    input, weight, bias, stride, padding, output_padding, groups, dilation = args
    needs_input, needs_weight, needs_bias = needs
    grad, weight = grads[0], weight.contiguous() if needs_input else weight
    grad_input = grad.new_empty(input.shape) if needs_input else None
    grad_weight = grad.new_empty(weight.shape) if needs_weight else None
    grad_bias = grad.new_empty(grad.shape[1:2]) if needs_bias else None
    _extension._C.conv_transpose_backward(
        grad.data_ptr(),
        input.data_ptr(),
        weight.data_ptr(),
        address(grad_input),
        address(grad_weight),
        address(grad_bias),
        shape_numbers(input, weight, grad, stride, padding, groups, dilation),
        strides_of(grad),
        strides_of(input),
        strides_of(input if grad_input is None else grad_input),
        _extension.DTYPE_CODES[grad.dtype],
        torch.get_num_threads(),
    )
    return grad_input, grad_weight, grad_bias
