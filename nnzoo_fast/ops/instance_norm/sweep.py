"""The calls of `instance_norm` that `nnzoo-fast tune` measures: both layouts."""

from nnzoo_fast.norms.sweep import IMAGES
from nnzoo_fast.ops.group_norm.cpu import kind_of
from nnzoo_fast.ops.instance_norm.spec import shaped

__all__ = ["SWEEP", "kind_of"]

SWEEP = [shaped(shape, last=last) for last in (False, True) for shape in IMAGES]
