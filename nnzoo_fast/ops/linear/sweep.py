"""The calls of `linear` that `nnzoo-fast tune` measures: 2^16 to 2^32 multiply-adds, square and not, and few rows."""

from nnzoo_fast.ops.linear.cpu import kind_of
from nnzoo_fast.ops.linear.spec import shaped

__all__ = ["SWEEP", "kind_of"]

SQUARE = [(n, n, n) for n in (64, 128, 192, 256, 384, 512, 768, 1024, 1536)]
WIDE = [(64, 784, 512), (32, 2048, 2048), (4096, 256, 256), (256, 1024, 4096), (256, 4096, 1024), (8192, 768, 768)]
NARROW = [(512, 64, 64), (4096, 64, 64), (4096, 128, 128), (1024, 64, 512), (4096, 512, 64), (16384, 160, 160)]
FEW_ROWS = [(m, n, n) for m in (1, 2, 4, 16) for n in (128, 256, 512, 1024)] + [(m, 1024, 4096) for m in (1, 4, 8, 16)]

SWEEP = [
    shaped((rows,), in_features, out_features, True, activation)
    for activation, every in (("none", 1), ("gelu", 2))
    for rows, in_features, out_features in (SQUARE + WIDE + NARROW + FEW_ROWS)[::every]
]
