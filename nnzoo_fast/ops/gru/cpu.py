"""`gru` on the kernels of `csrc/ops/gru`."""

from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.gru.family import FAMILY
from nnzoo_fast.recurrent import cpu, layers


def supports(input, *args) -> Verdict:
    return cpu_supports(input, "gru_forward")


def pays(*args) -> Verdict:
    return True, "whole sequence in one kernel: packed recurrent weights, gates applied in the cache"


class Direction(cpu.Direction):
    family = FAMILY


forward, backward = layers.forward_by(FAMILY, Direction), layers.backward_by(FAMILY, Direction)
