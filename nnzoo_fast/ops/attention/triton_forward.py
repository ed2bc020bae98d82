"""The forward kernel of `attention` in Triton. Programs are numbered by head, then by tile of queries."""

import triton
import triton.language as tl

from nnzoo_fast.ops.attention.triton_tiles import kept_tile, load_tile, score_tile
from nnzoo_fast.triton_common import dot, scaled


@triton.jit
def forward_kernel(
    query, key, value, mask, seed, output, statistics,
    heads, group, queries, keys, head_dim, value_dim,
    query_b, query_h, query_l, key_b, key_h, key_s, value_b, value_h, value_s, mask_b, mask_h, mask_l, mask_s,
    scale: tl.float64, dropout_scale: tl.float64, threshold,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, KEEP: tl.constexpr,
    COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
    TILE_L: tl.constexpr, TILE_S: tl.constexpr, TILE_E: tl.constexpr, TILE_V: tl.constexpr,
):  # fmt: skip
    """output and statistics of one tile of queries: one pass over the keys with a running maximum and sum."""
    head = tl.program_id(0)
    b, h = (head // heads).to(tl.int64), (head % heads).to(tl.int64)
    rows = tl.program_id(1) * TILE_L + tl.arange(0, TILE_L)
    e, v = tl.arange(0, TILE_E), tl.arange(0, TILE_V)
    query_tile = load_tile(query + b * query_b + h * query_h, rows, e, query_l, queries, head_dim)
    key_base = key + b * key_b + (h // group) * key_h
    value_base = value + b * value_b + (h // group) * value_h
    mask_base = mask + b * mask_b + h * mask_h

    largest = tl.full((TILE_L,), float("-inf"), dtype=COMPUTE)
    total = tl.zeros((TILE_L,), dtype=COMPUTE)
    mixed = tl.zeros((TILE_L, TILE_V), dtype=COMPUTE)
    last = keys
    if CAUSAL:
        last = tl.minimum(keys, (tl.program_id(1) + 1) * TILE_L)
    for start in range(0, last, TILE_S):
        columns = start + tl.arange(0, TILE_S)
        key_tile = load_tile(key_base, columns, e, key_s, keys, head_dim)
        scores = score_tile(
            query_tile, key_tile, mask_base, rows, columns, mask_l, mask_s, scale, queries, keys,
            MASK, CAUSAL, COMPUTE, PRECISION,
        )  # fmt: skip
        higher = tl.maximum(largest, tl.max(scores, 1))
        reference = tl.where(higher == float("-inf"), 0.0, higher)
        weights = tl.exp(scores - reference[:, None])
        shrink = tl.exp(largest - reference)
        total = total * shrink + tl.sum(weights, 1)
        if DROPOUT:
            kept = kept_tile(seed, head, rows, columns, queries, keys, threshold)
            weights = tl.where(kept, scaled(weights, dropout_scale), 0.0)
        value_tile = load_tile(value_base, columns, v, value_s, keys, value_dim)
        mixed = dot(weights.to(value_tile.dtype), value_tile, mixed * shrink[:, None], PRECISION)
        largest = higher

    blind = total == 0.0
    place = (head.to(tl.int64) * queries + rows[:, None]) * value_dim + v[None, :]
    result = mixed / tl.where(blind, 1.0, total)[:, None]
    tl.store(output + place, result, mask=(rows[:, None] < queries) & (v[None, :] < value_dim))
    if KEEP:
        to = statistics + head.to(tl.int64) * queries + rows
        tl.store(to, tl.where(blind, float("inf"), largest), mask=rows < queries)
        half = tl.num_programs(0).to(tl.int64) * queries
        tl.store(to + half, tl.log(tl.where(blind, 1.0, total)), mask=rows < queries)
