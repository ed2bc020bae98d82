"""`rnn` on the kernels of `csrc/ops/rnn`."""

from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.rnn.family import FAMILY
from nnzoo_fast.recurrent import cpu, layers


def supports(input, *args) -> Verdict:
    return cpu_supports(input, "rnn_forward")


def pays(*args) -> Verdict:
    return True, "whole sequence in one kernel: packed recurrent weights, nonlinearity applied in the cache"


class Direction(cpu.Direction):
    family = FAMILY

    @staticmethod
    def kernel_options(nonlinearity: str) -> tuple:
        return (nonlinearity == "relu",)


forward, backward = layers.forward_by(FAMILY, Direction), layers.backward_by(FAMILY, Direction)
