"""What `lstm_cell` means."""

from nnzoo_fast.ops.lstm.reference import cell, preactivations


def reference(input, hx, cx, w_ih, w_hh, b_ih=None, b_hh=None):
    return cell(preactivations(input, hx, w_ih, w_hh, b_ih, b_hh), cx)
