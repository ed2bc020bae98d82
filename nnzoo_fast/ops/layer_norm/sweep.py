"""The calls of `layer_norm` that `nnzoo-fast tune` measures."""

from nnzoo_fast.norms.sweep import ROWS
from nnzoo_fast.ops.layer_norm.cpu import kind_of
from nnzoo_fast.ops.layer_norm.spec import shaped

__all__ = ["SWEEP", "kind_of"]

SWEEP = [shaped((rows,), (columns,)) for rows, columns in ROWS]
