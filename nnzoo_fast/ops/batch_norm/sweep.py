"""The calls of `batch_norm` that `nnzoo-fast tune` measures: both layouts, training."""

from nnzoo_fast.norms.sweep import IMAGES
from nnzoo_fast.ops.batch_norm.cpu import kind_of
from nnzoo_fast.ops.batch_norm.spec import shaped

__all__ = ["SWEEP", "kind_of"]

SWEEP = [shaped(shape, training, last=last) for training in (True, False) for last in (False, True) for shape in IMAGES]
