"""`lstm_cell` on the kernels of `csrc/ops/lstm`: a sequence of one step."""

from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.lstm.cpu import Direction
from nnzoo_fast.ops.lstm_cell import step


def supports(input, *args) -> Verdict:
    return cpu_supports(input, "lstm_forward")


def pays(*args) -> Verdict:
    return True, "both products, the gates and the cell in one call"


forward, backward = step.forward_by(Direction), step.backward_by(Direction)
