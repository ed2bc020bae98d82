"""The ladder of a recurrent operation: the ways between its definition and the kernel of a whole sequence."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from nnzoo_fast.recurrent.family import Family


def ladder(family: Family, sequence: Callable, cell: Callable) -> dict[str, Callable]:
    """The rungs by name; `sequence` and `cell` are the public functions."""

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
        **options,
    ):
        """The cell step by step in Python: its gates are fused, but each step packs its weights anew.

        For one layer in one direction over padded input without a projection; other calls take the sequence.
        """
        if num_layers > 1 or bidirectional or batch_sizes is not None or len(weights) != (4 if bias else 2):
            settings = (bias, num_layers, dropout, train, bidirectional, batch_first, batch_sizes)
            return sequence(input, hx, weights, *settings, **options, seed=seed, backend="cpu")
        steps = input.unbind(1 if batch_first else 0)
        states = hx if family.has_cells else (hx,)
        if hx is None:
            states = family.zero_states(steps[0], weights, bias, 1, steps[0].shape[0])
        states, outputs = [state[0] for state in states], []
        for x in steps:
            found = cell(x, tuple(states) if family.has_cells else states[0], *weights, **options, backend="cpu")
            states = found if family.has_cells else (found,)
            outputs.append(states[0])
        return torch.stack(outputs, 1 if batch_first else 0), *(state[None] for state in states)

    return {
        "loop of torch operators": functools.partial(sequence, backend="reference"),
        "loop of fused cells": loop_of_cells,
        "sequence": functools.partial(sequence, backend="cpu"),
    }
