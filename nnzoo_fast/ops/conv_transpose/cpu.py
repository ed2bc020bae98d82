"""`conv_transpose` on the kernels of `csrc/ops/conv_transpose`, which are those of `conv` the other way round."""

import torch

from nnzoo_fast import _extension, tables
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.conv.cpu import MEASURED, numbers_of, strides_of
from nnzoo_fast.ops.conv_transpose.outputs import allocate


def supports(input, weight, bias, stride, padding, output_padding, groups, dilation) -> Verdict:
    return cpu_supports(input, "conv_transpose_forward")


def pays(input, weight, bias, stride, padding, output_padding, groups, dilation) -> Verdict:
    """Zen 4, forward and training, one thread, against oneDNN (float64: torch's own product and col2im)."""
    per_group = weight.shape[1]
    if groups > 1 and per_group == 1:
        return True, "depthwise planes stay in the first-level cache: 1.6 to 3.5 times as fast as oneDNN"
    if input.dtype == torch.float64:
        overlap = any(size > step for size, step in zip(weight.shape[2:], stride, strict=True))
        if overlap and per_group >= 64:
            return True, "stock torch writes the im2col matrix in float64: 1.3 to 1.6 times our time"
        return False, "few products for each value: stock torch's float64 product is as fast"
    if input.dtype == torch.bfloat16:
        return False, "oneDNN uses the CPU's bfloat16 instructions: twice as fast"
    if tables.CPU not in MEASURED:
        return False, "no measurements of this CPU are shipped: oneDNN is trusted"
    if input.is_contiguous() and input.dim() < 5 and input.shape[2] > 1 and per_group <= 32:
        return True, "few output channels: 1.1 to 1.9 times as fast as oneDNN forward, 0.95 to 1.15 in training"
    return False, "oneDNN's deconvolution is nearer to the FMA peak"


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
        shape_numbers(input, weight, outputs[0], stride, padding, groups, dilation),
        strides_of(input),
        strides_of(outputs[0]),
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
