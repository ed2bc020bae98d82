"""The calls of `group_norm` that `nnzoo-fast tune` measures: both layouts, four channels together."""

from nnzoo_fast.norms.sweep import IMAGES
from nnzoo_fast.ops.group_norm.cpu import kind_of
from nnzoo_fast.ops.group_norm.spec import shaped

__all__ = ["SWEEP", "kind_of"]

SWEEP = [shaped(shape, shape[1] // 4, last=last) for last in (False, True) for shape in IMAGES]
