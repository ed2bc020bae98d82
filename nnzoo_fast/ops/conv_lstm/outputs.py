"""The sizes and the memory of what `conv_lstm` returns."""

from nnzoo_fast.ops.conv.arguments import resolve_padding
from nnzoo_fast.recurrent.family import compute_dtype


def state_size(input, w_ih, padding, dilation) -> list[int]:
    """The spatial size of the state: what the input's convolution, with stride 1, leads to."""
    return [
        input.shape[3 + i] + padding[2 * i] + padding[2 * i + 1] - dilation[i] * (w_ih.shape[2 + i] - 1)
        for i in range(len(dilation))
    ]


def state_padding(w_hh, dilation) -> list[int]:
    """The zeros around the state that keep its size."""
    return resolve_padding("same", w_hh.shape[2:], [1] * len(dilation), dilation)


def allocate(input, h0, c0, w_ih, w_hh, bias, padding, dilation, training):
    steps, batch = input.shape[:2]
    hidden, size = w_hh.shape[1], state_size(input, w_ih, padding, dilation)
    output = input.new_empty((steps, batch, hidden, *size))
    c_n = input.new_empty((batch, hidden, *size))
    if not training:
        return output, c_n, None, None
    kept = compute_dtype(input.dtype)
    gates = input.new_empty((steps, batch, 4 * hidden, *size), dtype=kept)
    return output, c_n, gates, input.new_empty((steps, batch, hidden, *size), dtype=kept)
