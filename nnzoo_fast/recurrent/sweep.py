"""The calls of the recurrent operations and their cells that `nnzoo-fast tune` measures."""

from nnzoo_fast.recurrent.cell_samples import CellSamples
from nnzoo_fast.recurrent.samples import Samples
from nnzoo_fast.spec import Sample

BATCHES = (1, 4, 32)
STEPS = (1, 4, 12, 24, 64)
HIDDEN = (64, 256)
ROWS = (1, 4, 16, 64, 256)


def sequences(samples: Samples) -> list[Sample]:
    """Few steps and many, of one sequence, few and many."""
    return [
        samples.shaped(f"B{batch} H{hidden} T{steps}", steps, batch, hidden // 2, hidden, given=False)
        for batch in BATCHES
        for steps in STEPS
        for hidden in HIDDEN
    ]


def cells(samples: CellSamples) -> list[Sample]:
    """Few rows and many."""
    return [samples.shaped(f"H{hidden} B{rows}", rows, hidden // 2, hidden) for rows in ROWS for hidden in HIDDEN]
