"""The calls of `softmax` that `nnzoo-fast tune` measures."""

from nnzoo_fast.ops.softmax.along import kind_of
from nnzoo_fast.ops.softmax.samples import swept

__all__ = ["SWEEP", "kind_of"]

SWEEP = swept()
