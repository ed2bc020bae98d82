"""The calls of `lstm` that `nnzoo-fast tune` measures."""

from nnzoo_fast.ops.lstm.cpu import kind_of
from nnzoo_fast.ops.lstm.spec import SAMPLES
from nnzoo_fast.recurrent.sweep import sequences

__all__ = ["SWEEP", "kind_of"]

SWEEP = sequences(SAMPLES)
