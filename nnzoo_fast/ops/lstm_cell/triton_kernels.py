"""`lstm_cell` in Triton: one step of `lstm`."""

from nnzoo_fast.ops.lstm.triton_kernels import Direction, ahead_of_time
from nnzoo_fast.ops.lstm_cell import step

__all__ = ["ahead_of_time", "backward", "forward"]

forward, backward = step.forward_by(Direction), step.backward_by(Direction)
