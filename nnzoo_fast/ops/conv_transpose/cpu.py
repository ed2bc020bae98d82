"""`conv_transpose` on the kernels of `csrc/ops/conv_transpose`, which are those of `conv` the other way round."""

import math

from nnzoo_fast import _extension, tables
from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.conv.cpu import numbers_of, run_backward, run_forward
from nnzoo_fast.ops.conv_transpose.outputs import allocate


def supports(input, weight, bias, stride, padding, output_padding, groups, dilation) -> Verdict:
    return cpu_supports(input, "conv_transpose_forward")


def kind_of(input, weight, bias, stride, padding, output_padding, groups, dilation) -> tuple[str, int]:
    """The kind of call that a table tells apart, and its multiply-adds."""
    per_group, *kernel = weight.shape[1:]
    if groups > 1 and per_group == 1:
        shape = "depthwise"
    elif per_group <= 8:
        shape = "few channels"
    elif kernel == list(stride):
        shape = "patches"
    else:
        shape = "some channels" if per_group <= 32 else "dense"
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
    if outputs[0].numel():
        numbers = shape_numbers(input, weight, outputs[0], stride, padding, groups, dilation)
        run_forward(_extension._C.conv_transpose_forward, input, weight, bias, (*outputs, None), numbers)
    return outputs


def backward(grads, args, outputs, needs):
    input, weight, bias, stride, padding, output_padding, groups, dilation = args
    grad = grads[0]
    if grad.numel() == 0:
        shapes = (input.shape, weight.shape, grad.shape[1:2])
        return tuple(grad.new_zeros(shape) if needed else None for shape, needed in zip(shapes, needs, strict=True))
    numbers = shape_numbers(input, weight, grad, stride, padding, groups, dilation)
    return run_backward(_extension._C.conv_transpose_backward, grad, input, weight, numbers, needs)
