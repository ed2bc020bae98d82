"""The ladder of `lstm`: the ways between the definition and the kernel of a whole sequence."""

from __future__ import annotations

import torch

from nnzoo_fast.ops.lstm import lstm


def loop_of_operators(*args, **kwargs):
    """One PyTorch operator for each term of the formulas, step by step: the reference."""
    return lstm(*args, backend="reference", **kwargs)


def loop_of_cells(
    input,
    hx,
    weights,
    bias=True,
    num_layers=1,
    dropout=0.0,
    train=False,
    bidirectional=False,
    batch_first=False,
    batch_sizes=None,
    *,
    seed=None,
):
    """`lstm_cell` step by step in Python: gates and cell are fused, but each step packs its weights anew.

    For one layer in one direction over padded input without a projection; other calls take the sequence.
    """
    from nnzoo_fast.ops.lstm_cell import lstm_cell

    if num_layers > 1 or bidirectional or batch_sizes is not None or len(weights) != (4 if bias else 2):
        options = (bias, num_layers, dropout, train, bidirectional, batch_first, batch_sizes)
        return lstm(input, hx, weights, *options, seed=seed, backend="cpu")
    steps = input.unbind(1 if batch_first else 0)
    if hx is None:
        h = c = steps[0].new_zeros((steps[0].shape[0], weights[1].shape[1]))
    else:
        h, c = hx[0][0], hx[1][0]
    outputs = []
    for x in steps:
        h, c = lstm_cell(x, (h, c), *weights, backend="cpu")
        outputs.append(h)
    return torch.stack(outputs, 1 if batch_first else 0), h[None], c[None]
