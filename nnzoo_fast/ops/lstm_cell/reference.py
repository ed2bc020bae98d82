"""What `lstm_cell` means."""

from nnzoo_fast.ops.lstm.reference import cell


def reference(input, hx, cx, w_ih, w_hh, b_ih=None, b_hh=None):
    return cell(input, hx, cx, w_ih, w_hh, b_ih, b_hh)
