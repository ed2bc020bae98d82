"""The calls of `lstm_cell` that are checked and timed."""

from nnzoo_fast.ops.lstm.family import FAMILY
from nnzoo_fast.ops.lstm_cell import lstm_cell
from nnzoo_fast.recurrent.cell_samples import CellSamples

SAMPLES = CellSamples(FAMILY, lstm_cell)
SPEC = SAMPLES.spec(
    errors=[
        SAMPLES.wrong_state("c-hidden", 1, lambda m, _: m.normal(3, 5)),
    ],
)
