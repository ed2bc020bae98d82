"""`conv_lstm` on the kernels of `csrc/ops/conv_lstm` and, for what backward does for all steps at once, of `conv`."""

import math

import torch

from nnzoo_fast import _compat, _extension, tables
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.conv.cpu import FEW_CHANNELS, in_three
from nnzoo_fast.ops.conv.cpu import backward as conv_backward
from nnzoo_fast.ops.conv_lstm.outputs import allocate, state_padding, state_size


def supports(input, h0, c0, w_ih, w_hh, bias, padding, dilation) -> Verdict:
    return cpu_supports(input, "conv_lstm_forward")


def kind_of(input, h0, c0, w_ih, w_hh, bias, padding, dilation) -> tuple[str, int]:
    """The kind of call that a table tells apart, and its multiply-adds."""
    wide = " wide" if w_hh.shape[1] >= FEW_CHANNELS else ""
    kind = f"{tables.DTYPE_NAMES[input.dtype]}{wide} {len(dilation)}d {tables.way(input, h0, c0, w_ih, w_hh, bias)}"
    pixels = math.prod(state_size(input, w_ih, padding, dilation))
    return kind, input.shape[0] * input.shape[1] * pixels * (math.prod(w_ih.shape) + math.prod(w_hh.shape))


def pays(input, h0, c0, w_ih, w_hh, bias, padding, dilation) -> Verdict:
    if input.dtype == torch.bfloat16 and _compat.CPU_MULTIPLIES_BF16:
        rule = False, "oneDNN uses the CPU's bfloat16 instructions, these kernels sum in float32"
    else:
        rule = True, "both convolutions of a step are one product, and the gates are applied to it in the cache"
    return tables.pays("conv_lstm", *kind_of(input, h0, c0, w_ih, w_hh, bias, padding, dilation), rule)


def numbers_of(input, output, w_ih, w_hh, padding, dilation) -> tuple[int, ...]:
    """`ConvLstmShape` of csrc/ops/conv_lstm/conv_lstm.h."""
    return (
        *input.shape[:3],
        w_hh.shape[1],
        *in_three(input.shape[3:], 1),
        *in_three(output.shape[3:], 1),
        *in_three(w_hh.shape[2:], 1),
        *in_three(dilation, 1),
        *in_three(padding[::2], 0),
        *in_three(state_padding(w_hh, dilation)[::2], 0),
    )


def contiguous(*tensors):
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def forward(input, h0, c0, w_ih, w_hh, bias, padding, dilation, training):
    outputs = allocate(input, h0, c0, w_ih, w_hh, bias, padding, dilation, training)
    tensors = [*contiguous(input, h0, c0, w_ih, w_hh, bias), *outputs]
    _extension._C.conv_lstm_forward(
        numbers_of(input, outputs[0], w_ih, w_hh, padding, dilation),
        tuple(map(address, tensors)),
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )
    return outputs


def backward(grads, args, outputs, needs):
    input, h0, c0, w_ih, w_hh, bias, padding, dilation = args
    needs_input, needs_h0, needs_c0, needs_w_ih, needs_w_hh, needs_bias = needs
    output, _, gates, cells = outputs
    grad_gates = output.new_empty(gates.shape)
    grad_h0, grad_c0 = torch.empty_like(output[0]), torch.empty_like(output[0])
    tensors = [*contiguous(*grads, c0, w_hh, gates, cells), grad_gates, grad_h0, grad_c0]
    _extension._C.conv_lstm_backward(
        numbers_of(input, output, w_ih, w_hh, padding, dilation),
        tuple(map(address, tensors)),
        _extension.DTYPE_CODES[output.dtype],
        torch.get_num_threads(),
    )
    strides = [1] * len(dilation)
    images = (input.flatten(0, 1), w_ih, bias, strides, padding, dilation, 1, "none")
    wanted = needs_input, needs_w_ih, needs_bias
    grad_input, grad_w_ih, grad_bias = conv_backward((grad_gates.flatten(0, 1),), images, None, wanted)
    grad_w_hh = None
    if needs_w_hh:
        # Each step's state came from the step before; the first from h0, or from zeros, which add nothing.
        before = output[:-1] if h0 is None else torch.cat([h0.unsqueeze(0), output[:-1]])
        later = grad_gates[grad_gates.shape[0] - before.shape[0] :]
        images = (before.flatten(0, 1), w_hh, None, strides, state_padding(w_hh, dilation), dilation, 1, "none")
        grad_w_hh = conv_backward((later.flatten(0, 1),), images, None, (False, True, False))[1]
    return (
        None if grad_input is None else grad_input.view(input.shape),
        grad_h0 if needs_h0 else None,
        grad_c0 if needs_c0 else None,
        grad_w_ih,
        grad_w_hh,
        grad_bias,
    )
