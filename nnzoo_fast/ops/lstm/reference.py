"""What `lstm` means."""

from nnzoo_fast.ops.lstm.family import FAMILY
from nnzoo_fast.recurrent.reference import linear, sigmoid, stack, tanh


def cell(x, h, c, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step from x [N, in_features], h and c: the new output (before any projection) and cell state."""
    i, f, g, o = (linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)).chunk(4, -1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def step(x, h, c, weights):
    h, c = cell(x, h, c, *weights[:4])
    return h if weights.w_hr is None else h @ weights.w_hr.t(), c


def reference(
    input, h0, c0, weights, batch_sizes=None, seed=None, bias=True, num_layers=1, dropout=0.0, bidirectional=False
):
    """Output, h_n and c_n of a stack of LSTM layers; shapes as in `lstm`, time first."""
    args = (input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional)
    return stack(FAMILY, step, *args)
