"""`lstm_cell` as a sequence of one step: `nnzoo_fast.recurrent.step` for this family."""

import functools

from nnzoo_fast.ops.lstm.family import FAMILY
from nnzoo_fast.recurrent import step

allocate, keeps, check, flops, forward_by, backward_by = (
    functools.partial(function, FAMILY)
    for function in (step.allocate, step.keeps, step.check, step.flops, step.forward_by, step.backward_by)
)
