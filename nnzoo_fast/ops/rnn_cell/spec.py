"""The calls of `rnn_cell` that are checked and timed."""

from nnzoo_fast.ops.rnn.family import FAMILY
from nnzoo_fast.ops.rnn_cell import rnn_cell
from nnzoo_fast.recurrent.cell_samples import CellSamples

SAMPLES = CellSamples(FAMILY, rnn_cell)
SPEC = SAMPLES.spec(
    samples=[SAMPLES.shaped("B5-I4-H21-relu", 5, 4, 21, nonlinearity="relu")],
    errors=[SAMPLES.wrong("nonlinearity", 0, "nonlinearity", lambda m, x: x, ValueError, nonlinearity="gelu")],
)
