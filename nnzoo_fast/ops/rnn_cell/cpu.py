"""`rnn_cell` on the kernels of `csrc/ops/rnn`: a sequence of one step."""

import functools

from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.rnn.cpu import Direction
from nnzoo_fast.ops.rnn.family import FAMILY
from nnzoo_fast.recurrent import step
from nnzoo_fast.recurrent.cpu import cell_pays


def supports(input, *args) -> Verdict:
    return cpu_supports(input, "rnn_forward")


pays = functools.partial(cell_pays, "rnn_cell")
forward, backward = step.forward_by(FAMILY, Direction), step.backward_by(FAMILY, Direction)
