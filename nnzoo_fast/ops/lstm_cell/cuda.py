"""`lstm_cell` on the CUDA kernels of `lstm`: a sequence of one step."""

from nnzoo_fast.backends import Verdict
from nnzoo_fast.ops.lstm.cuda import Steps
from nnzoo_fast.ops.lstm_cell import step


def supports(*args) -> Verdict:
    return True, ""


forward, backward = step.forward_by(Steps), step.backward_by(Steps)
