"""`lstm_cell` in Triton: one step of `lstm`."""

from nnzoo_fast.ops.lstm.triton_kernels import Direction
from nnzoo_fast.ops.lstm_cell import step
from nnzoo_fast.triton_common import AheadOfTime

forward, backward = step.forward_by(Direction), step.backward_by(Direction)


def ahead_of_time() -> list[AheadOfTime]:
    """Nothing beyond the kernels of `lstm`."""
    return []
