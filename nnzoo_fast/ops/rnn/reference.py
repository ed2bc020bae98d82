"""What `rnn` means."""

from nnzoo_fast.ops.rnn.family import FAMILY
from nnzoo_fast.recurrent.reference import linear, stack, tanh


def cell(x, h, w_ih, w_hh, b_ih=None, b_hh=None, nonlinearity="tanh"):
    """One step from x [N, in_features] and h: the new h."""
    a = linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)
    return tanh(a) if nonlinearity == "tanh" else a.relu()


def step(x, h, weights, nonlinearity):
    return (cell(x, h, *weights[:4], nonlinearity),)


def reference(
    input,
    h0,
    weights,
    batch_sizes=None,
    seed=None,
    bias=True,
    num_layers=1,
    dropout=0.0,
    bidirectional=False,
    nonlinearity="tanh",
):
    """Output and h_n of a stack of RNN layers; shapes as in `rnn`, time first."""
    args = (input, h0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional, nonlinearity)
    return stack(FAMILY, step, *args)
