"""`lstm_cell` on the CUDA kernels of `lstm`: a sequence of one step."""

import torch

from nnzoo_fast.backends import Verdict
from nnzoo_fast.ops.lstm import cuda as lstm


def supports(input, hx, cx, w_ih, w_hh, b_ih, b_hh) -> Verdict:
    if (b_ih is None) != (b_hh is None):
        return False, "one bias without the other"
    return True, ""


def as_sequence(input, hx, cx, w_ih, w_hh, b_ih, b_hh) -> tuple:
    """The arguments of `lstm` for one step."""
    weights = [w_ih, w_hh] if b_ih is None else [w_ih, w_hh, b_ih, b_hh]
    states = (tensor.unsqueeze(0) for tensor in (input, hx, cx))
    return (*states, weights, None, None, b_ih is not None, 1, 0.0, False)


def forward(*args):
    *args, training = args
    output, _, c_n, gates, cells, _ = lstm.forward(*as_sequence(*args), training)
    if not training:
        return output[0], c_n[0], gates, cells
    return output[0], c_n[0], gates[0, 0], cells[0, 0]


def backward(grads, args, outputs, needs):
    grad_h, grad_c = (grad.unsqueeze(0) for grad in grads)
    sequence = as_sequence(*args)
    # What stands for the output is not read: the only step starts from hx.
    kept = (grad_h, None, None, outputs[2][None, None], outputs[3][None, None], None)
    needs = (*needs[: 3 + len(sequence[3])], False, False)
    found = lstm.backward((grad_h, torch.zeros_like(grad_h), grad_c), sequence, kept, needs)[:-2]
    states = tuple(None if grad is None else grad.squeeze(0) for grad in found[:3])
    return (*states, *found[3:], *(None,) * (len(args) - len(found)))
