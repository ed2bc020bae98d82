"""What the Triton kernels of `attention` share: a tile of rows, of scores, and of dropout's mask."""

import triton
import triton.language as tl

from nnzoo_fast.triton_common import dot, philox, scaled

NO_MASK, BOOLEAN, ADDITIVE = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


@triton.jit
def load_tile(base, rows, features, row_stride, ROWS, FEATURES):
    """[rows, features] with zeros outside [ROWS, FEATURES]; adjacent features."""
    place = base + rows[:, None].to(tl.int64) * row_stride + features[None, :]
    return tl.load(place, mask=(rows[:, None] < ROWS) & (features[None, :] < FEATURES), other=0.0)


@triton.jit
def score_tile(
    query, key, mask, rows, columns, mask_row, mask_column, scale, queries, keys,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """query @ key^T * scale + mask, -inf where a query sees no key. `mask` points at its batch and head."""
    zeros = tl.zeros((query.shape[0], key.shape[0]), dtype=COMPUTE)
    scores = scaled(dot(query, tl.trans(key), zeros, PRECISION), scale)
    inside = (rows[:, None] < queries) & (columns[None, :] < keys)
    if CAUSAL:
        scores = tl.where(rows[:, None] >= columns[None, :], scores, float("-inf"))
    if MASK != NO_MASK:
        place = mask + rows[:, None].to(tl.int64) * mask_row + columns[None, :].to(tl.int64) * mask_column
        if MASK == BOOLEAN:
            visible = tl.load(place, mask=inside, other=0) != 0
            scores = tl.where(visible, scores, float("-inf"))
        else:
            scores += tl.load(place, mask=inside, other=0.0).to(COMPUTE)
    return tl.where(inside, scores, float("-inf"))


@triton.jit
def kept_tile(seed, head, rows, columns, queries, keys, threshold):
    """True where dropout keeps the weight: word i of the stream, i counted in [B, H, L, S], against the threshold."""
    index = (head.to(tl.int64) * queries + rows[:, None]) * keys + columns[None, :]
    return philox(tl.load(seed), index) >= threshold
