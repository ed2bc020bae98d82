"""`lstm_cell` on the kernels of `csrc/ops/lstm`: a sequence of one step."""

import functools

from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.lstm.cpu import Direction
from nnzoo_fast.ops.lstm_cell import step
from nnzoo_fast.recurrent.cpu import cell_pays


def supports(input, *args) -> Verdict:
    return cpu_supports(input, "lstm_forward")


pays = functools.partial(cell_pays, "lstm_cell")
forward, backward = step.forward_by(Direction), step.backward_by(Direction)
