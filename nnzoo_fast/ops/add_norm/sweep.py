"""The calls of `add_norm` that `nnzoo-fast tune` measures."""

from nnzoo_fast.norms.sweep import ROWS
from nnzoo_fast.ops.add_norm.cpu import kind_of
from nnzoo_fast.ops.add_norm.spec import shaped

__all__ = ["SWEEP", "kind_of"]

SWEEP = [
    shaped("layer", (rows,), (columns,), dropout_p=p, name=f"dropout{p}") for p in (0.0, 0.1) for rows, columns in ROWS
]
