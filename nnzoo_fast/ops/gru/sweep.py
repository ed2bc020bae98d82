"""The calls of `gru` that `nnzoo-fast tune` measures."""

from nnzoo_fast.ops.gru.cpu import kind_of
from nnzoo_fast.ops.gru.spec import SAMPLES
from nnzoo_fast.recurrent.sweep import sequences

__all__ = ["SWEEP", "kind_of"]

SWEEP = sequences(SAMPLES)
