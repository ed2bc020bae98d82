"""The calls of `rnn_cell` that `nnzoo-fast tune` measures."""

from nnzoo_fast.ops.rnn_cell.spec import SAMPLES
from nnzoo_fast.recurrent.cpu import cell_kind_of as kind_of
from nnzoo_fast.recurrent.sweep import cells

__all__ = ["SWEEP", "kind_of"]

SWEEP = cells(SAMPLES)
