"""What `conv_lstm` means."""

import torch

from nnzoo_fast.ops.conv.reference import reference as convolve
from nnzoo_fast.ops.conv_lstm.outputs import state_padding, state_size
from nnzoo_fast.recurrent.reference import sigmoid, tanh


def reference(input, h0, c0, w_ih, w_hh, bias, padding, dilation):
    """Output and c_n, one step after the other."""
    return steps_with(convolve, sigmoid, tanh, input, h0, c0, w_ih, w_hh, bias, padding, dilation)


def steps_with(convolve, sigmoid, tanh, input, h0, c0, w_ih, w_hh, bias, padding, dilation):
    """The recurrence on given functions, `convolve` being called as the reference of `conv` is."""
    if h0 is None:
        h0 = c0 = input.new_zeros((input.shape[1], w_hh.shape[1], *state_size(input, w_ih, padding, dilation)))
    h, c, outputs = h0, c0, []
    strides = [1] * len(dilation)
    for x in input.unbind(0):
        gates = convolve(x, w_ih, bias, strides, padding, dilation, 1)
        gates = gates + convolve(h, w_hh, None, strides, state_padding(w_hh, dilation), dilation, 1)
        i, f, g, o = gates.chunk(4, 1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        outputs.append(h)
    return torch.stack(outputs), c
