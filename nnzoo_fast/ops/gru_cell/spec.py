"""The calls of `gru_cell` that are checked and timed."""

from nnzoo_fast.ops.gru.family import FAMILY
from nnzoo_fast.ops.gru_cell import gru_cell
from nnzoo_fast.recurrent.cell_samples import CellSamples

SAMPLES = CellSamples(FAMILY, gru_cell)
SPEC = SAMPLES.spec()
