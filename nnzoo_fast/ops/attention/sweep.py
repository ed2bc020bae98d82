"""The calls of `attention` that `nnzoo-fast tune` measures: each way to hide keys, a few thousand to a billion
multiply-adds, and few queries over many keys."""

from nnzoo_fast.ops.attention.cpu import kind_of
from nnzoo_fast.ops.attention.spec import shaped

__all__ = ["SWEEP", "kind_of"]

SIZES = [(2, 4, 16, 32), (1, 8, 32, 64), (4, 4, 64, 32), (2, 8, 128, 64), (4, 12, 256, 64), (1, 8, 1024, 64)]
CACHES = [(1, 8, 64, 64), (1, 12, 512, 64), (16, 12, 128, 64), (1, 12, 2048, 64), (8, 12, 1024, 64)]


def swept(sight, batch, heads, queries, keys, head_dim):
    sights = {
        "full": {},
        "causal": {"is_causal": True},
        "booleans": {"mask": lambda m: m.booleans(queries, keys)},
        "bias": {"mask": lambda m: m.normal(heads, queries, keys)},
    }
    id = f"{sight} B{batch}H{heads}-L{queries}-S{keys}-E{head_dim}"
    return shaped(id, (batch, heads), queries, keys, head_dim, **sights[sight])


SWEEP = [
    *(
        swept(sight, batch, heads, length, length, head_dim)
        for sight in ("full", "causal", "booleans", "bias")
        for batch, heads, length, head_dim in SIZES
    ),
    *(
        swept(sight, batch, heads, queries, keys, head_dim)
        for sight, queries in (("full", 1), ("booleans", 1), ("full", 8))
        for batch, heads, keys, head_dim in CACHES
    ),
]
