"""`conv` on the kernels of `csrc/ops/conv`."""

import math

import torch

from nnzoo_fast import _extension, tables
from nnzoo_fast.activations import ACTIVATION_CODES
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.conv.outputs import allocate, through_activation
from nnzoo_fast.ops.linear.cpu import activation_gradient

FEW_CHANNELS = 64
"""Input channels of a group below which a tap is a short product."""

ONE_VOLUME = 20480
"""Of a single float32 volume, channels times depth times height up to which stock torch doesn't ask oneDNN."""

SMALL_IMAGE = 64
"""Pixels of an image up to which a 1x1 kernel's product has few columns for the weights that it packs, and a depthwise
kernel few vectors for the plane that it makes."""

TINY_VOLUME = 1024
"""Pixels of a volume below which a call's own cost decides."""


def supports(input, weight, bias, stride, padding, dilation, groups, activation) -> Verdict:
    return cpu_supports(input, "conv_forward")


def kind_of(input, weight, bias, stride, padding, dilation, groups, activation) -> tuple[str, int]:
    """The kind of call that a table tells apart, and its multiply-adds.

    An activation makes no kind of its own: it costs stock torch one more pass over the output, and the kernels none.
    """
    per_group, *kernel = weight.shape[1:]
    pixels = math.prod(input.shape[2:]) // math.prod(stride)
    if groups > 1:
        shape = "depthwise" if per_group == 1 else "small groups" if per_group <= 8 else "groups"
        if per_group == 1 and len(kernel) == 2 and pixels <= SMALL_IMAGE:
            shape += " on small images"
    elif max(kernel) == 1:
        if len(kernel) == 2 and pixels == 1:  # a linear layer, of squeeze and excitation
            shape = "1x1 on one pixel" if input.shape[0] == 1 else "1x1 on pixels"
        elif len(kernel) == 2 and pixels <= SMALL_IMAGE:
            shape = "1x1 on small images"
        else:
            shape = "1x1 narrowing" if weight.shape[0] < per_group else "1x1 widening"
    elif is_one_volume(input, kernel):
        shape = "one volume"
    else:
        shape = "stem" if per_group <= 4 else "few channels" if per_group < FEW_CHANNELS else "dense"
    layout = "" if input.is_contiguous() else " channels-last"
    kind = f"{tables.DTYPE_NAMES[input.dtype]} {shape} {len(kernel)}d{layout} {tables.way(input, weight, bias)}"
    # Every output position meets the whole weight.
    return kind, input.shape[0] * math.prod(input.shape[2:]) // math.prod(stride) * math.prod(weight.shape)


def is_one_volume(input, kernel) -> bool:
    """Whether stock torch, by a rule of its own, writes the im2col matrix of the only volume, and that isn't tiny."""
    return (
        input.dtype == torch.float32
        and len(kernel) == 3
        and input.shape[0] == 1
        and math.prod(input.shape[:4]) <= ONE_VOLUME
        and math.prod(input.shape[2:]) >= TINY_VOLUME
        and min(kernel[1:]) <= 3
    )


def pays(input, weight, bias, stride, padding, dilation, groups, activation) -> Verdict:
    kind, work = kind_of(input, weight, bias, stride, padding, dilation, groups, activation)
    taps = math.prod(weight.shape[1:])  # multiply-adds for each value that is read and written
    if input.dtype == torch.float64:
        rule = True, "stock torch writes the im2col matrix in float64"
    elif taps < input.dtype.itemsize * tables.MEMORY_BOUND and groups > 1:
        rule = True, "bound by memory: planes stay in the first-level cache"
    elif "one volume" in kind:
        rule = True, "stock torch writes the im2col matrix of one small volume"
    else:
        rule = False, "no measurements of this CPU are at hand: oneDNN's direct convolution is trusted"
    return tables.pays("conv", kind, work, rule)


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


def run_forward(kernel, input, weight, bias, outputs, numbers, activation="none") -> None:
    """`outputs`: the output and the activation's argument, or None. `numbers`: as `numbers_of` gives them."""
    output, kept = outputs
    weight = weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    kernel(
        input.data_ptr(),
        weight.data_ptr(),
        address(bias),
        output.data_ptr(),
        address(kept),
        numbers,
        strides_of(input),
        strides_of(output),
        ACTIVATION_CODES[activation],
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )


def run_backward(kernel, grad, input, weight, numbers, needs):
    """The gradients of input, weight and bias, of those that `needs` says."""
    needs_input, needs_weight, needs_bias = needs
    weight = weight.contiguous() if needs_input else weight
    grad_input = grad.new_empty(input.shape) if needs_input else None
    grad_weight = grad.new_empty(weight.shape) if needs_weight else None
    grad_bias = grad.new_empty(grad.shape[1:2]) if needs_bias else None
    kernel(
        grad.data_ptr(),
        input.data_ptr(),
        weight.data_ptr(),
        address(grad_input),
        address(grad_weight),
        address(grad_bias),
        numbers,
        strides_of(grad),
        strides_of(input),
        strides_of(input if grad_input is None else grad_input),
        _extension.DTYPE_CODES[grad.dtype],
        torch.get_num_threads(),
    )
    return grad_input, grad_weight, grad_bias


def forward(input, weight, bias, stride, padding, dilation, groups, activation, training, kernel="conv_forward"):
    outputs = allocate(input, weight, bias, stride, padding, dilation, groups, activation, training)
    numbers = numbers_of(input, weight, outputs[0], stride, padding, dilation, groups)
    run_forward(getattr(_extension._C, kernel), input, weight, bias, outputs, numbers, activation)
    return outputs


def forward_im2col(input, weight, bias, stride, padding, dilation, groups, activation):
    """The rung below on the ladder: the im2col matrix is written out."""
    args = (input.contiguous(), weight, bias, stride, padding, dilation, groups, activation)
    return forward(*args, training=False, kernel="conv_forward_im2col")[0]


def backward(grads, args, outputs, needs):
    input, weight, bias, stride, padding, dilation, groups, activation = args
    grad = through_activation(activation_gradient, grads[0], outputs, activation)
    numbers = numbers_of(input, weight, grad, stride, padding, dilation, groups)
    return run_backward(_extension._C.conv_backward, grad, input, weight, numbers, needs)
