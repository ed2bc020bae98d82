"""What `gru` means."""

from nnzoo_fast.ops.gru.family import FAMILY
from nnzoo_fast.recurrent.reference import linear, sigmoid, stack, tanh


def cell(x, h, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step from x [N, in_features] and h: the new h. The gate r scales the state's part of n after its bias."""
    of_input, of_state = linear(x, w_ih, b_ih).chunk(3, -1), linear(h, w_hh, b_hh).chunk(3, -1)
    r, z = (sigmoid(own + other) for own, other in zip(of_input[:2], of_state[:2], strict=True))
    n = tanh(of_input[2] + r * of_state[2])
    return n + z * (h - n)


def step(x, h, weights):
    return (cell(x, h, *weights[:4]),)


def reference(
    input, h0, weights, batch_sizes=None, seed=None, bias=True, num_layers=1, dropout=0.0, bidirectional=False
):
    """Output and h_n of a stack of GRU layers; shapes as in `gru`, time first."""
    return stack(FAMILY, step, input, h0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional)
