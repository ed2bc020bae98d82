"""The backward kernels of `attention` in Triton. Programs are numbered by head (or plane of the mask), then by tile.

Each recomputes the weights of its tiles from two numbers per query.
"""

import triton
import triton.language as tl

from nnzoo_fast.ops.attention.triton_tiles import ADDITIVE, kept_tile, load_tile, score_tile
from nnzoo_fast.triton_common import dot, scaled

NEARLY_ONE_HOT = tl.constexpr(0.22)
"""A query whose logarithm of the sum is less has a weight above 0.8."""


@triton.jit
def load_statistics(statistics, half, first, rows, queries):
    """Of a tile of queries that starts at `first`: the largest scores, then the logarithms of the sums."""
    inside = rows < queries
    largest = tl.load(statistics + first + rows, mask=inside, other=float("inf"))
    return largest, tl.load(statistics + half + first + rows, mask=inside, other=0.0)


@triton.jit
def weights_and_gradients(
    query_tile, key_tile, value_tile, grad_tile, largest, log_total, mask, seed, head, rows, columns,
    queries, keys, mask_l, mask_s, scale, dropout_scale, threshold,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """For one tile: the weights, the weights as the output used them, and the gradients of the former."""
    scores = score_tile(
        query_tile, key_tile, mask, rows, columns, mask_l, mask_s, scale, queries, keys,
        MASK, CAUSAL, COMPUTE, PRECISION,
    )  # fmt: skip
    weights = tl.exp(scores - largest[:, None] - log_total[:, None])
    zeros = tl.zeros((query_tile.shape[0], key_tile.shape[0]), dtype=COMPUTE)
    grad_weights = dot(grad_tile, tl.trans(value_tile), zeros, PRECISION)
    used = weights
    if DROPOUT:
        kept = kept_tile(seed, head, rows, columns, queries, keys, threshold)
        used = tl.where(kept, scaled(weights, dropout_scale), 0.0)
        grad_weights = tl.where(kept, scaled(grad_weights, dropout_scale), 0.0)
    return weights, used, grad_weights


@triton.jit
def centred(weights, grad_weights, means, half, first, rows, queries):
    """The gradients of the scores: those of the weights less their mean, times the weights."""
    inside = rows < queries
    mean = tl.load(means + first + rows, mask=inside, other=0.0)
    correction = tl.load(means + half + first + rows, mask=inside, other=0.0)
    return weights * ((grad_weights - mean[:, None]) - correction[:, None])


@triton.jit
def mean_kernel(
    query, key, value, mask, seed, grad, statistics, half, means, output,
    heads, group, queries, keys, head_dim, value_dim,
    query_b, query_h, query_l, key_b, key_h, key_s, value_b, value_h, value_s, mask_b, mask_h, mask_l, mask_s,
    scale: tl.float64, dropout_scale: tl.float64, threshold,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
    TILE_L: tl.constexpr, TILE_S: tl.constexpr, TILE_E: tl.constexpr, TILE_V: tl.constexpr,
):  # fmt: skip
    """The means of the weights' gradients for one tile of queries, in two parts: rowsum(grad * output), and what
    corrects it where a weight is so close to 1 that the output's rounding is larger than the gradients' spread."""
    head = tl.program_id(0)
    b, h = (head // heads).to(tl.int64), (head % heads).to(tl.int64)
    rows = tl.program_id(1) * TILE_L + tl.arange(0, TILE_L)
    e, v = tl.arange(0, TILE_E), tl.arange(0, TILE_V)
    first = head.to(tl.int64) * queries
    query_tile = load_tile(query + b * query_b + h * query_h, rows, e, query_l, queries, head_dim)
    grad_tile = load_tile(grad + first * value_dim, rows, v, value_dim, queries, value_dim)
    output_tile = load_tile(output + first * value_dim, rows, v, value_dim, queries, value_dim)
    largest, log_total = load_statistics(statistics, half, first, rows, queries)
    mean = tl.sum(grad_tile.to(COMPUTE) * output_tile.to(COMPUTE), 1)
    correction = tl.zeros((TILE_L,), dtype=COMPUTE)
    one_hot = (largest != float("inf")) & (log_total < NEARLY_ONE_HOT)
    last = tl.where(tl.max(one_hot.to(tl.int32), 0) > 0, keys, 0)
    if CAUSAL:
        last = tl.minimum(last, (tl.program_id(1) + 1) * TILE_L)
    for start in range(0, last, TILE_S):
        columns = start + tl.arange(0, TILE_S)
        key_tile = load_tile(key + b * key_b + (h // group) * key_h, columns, e, key_s, keys, head_dim)
        value_tile = load_tile(value + b * value_b + (h // group) * value_h, columns, v, value_s, keys, value_dim)
        weights, _, grad_weights = weights_and_gradients(
            query_tile, key_tile, value_tile, grad_tile, largest, log_total,
            mask + b * mask_b + h * mask_h, seed, head,
            rows, columns, queries, keys, mask_l, mask_s, scale, dropout_scale, threshold,
            MASK, CAUSAL, DROPOUT, COMPUTE, PRECISION,
        )  # fmt: skip
        correction += tl.sum(weights * (grad_weights - mean[:, None]), 1)
    tl.store(means + first + rows, mean, mask=rows < queries)
    tl.store(means + half + first + rows, correction, mask=rows < queries)


@triton.jit
def grad_query_kernel(
    query, key, value, mask, seed, grad, statistics, half, means, grad_query,
    heads, group, queries, keys, head_dim, value_dim,
    query_b, query_h, query_l, key_b, key_h, key_s, value_b, value_h, value_s, mask_b, mask_h, mask_l, mask_s,
    scale: tl.float64, dropout_scale: tl.float64, threshold,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
    TILE_L: tl.constexpr, TILE_S: tl.constexpr, TILE_E: tl.constexpr, TILE_V: tl.constexpr,
):  # fmt: skip
    """The gradient of one tile of queries."""
    head = tl.program_id(0)
    b, h = (head // heads).to(tl.int64), (head % heads).to(tl.int64)
    rows = tl.program_id(1) * TILE_L + tl.arange(0, TILE_L)
    e, v = tl.arange(0, TILE_E), tl.arange(0, TILE_V)
    first = head.to(tl.int64) * queries
    query_tile = load_tile(query + b * query_b + h * query_h, rows, e, query_l, queries, head_dim)
    grad_tile = load_tile(grad + first * value_dim, rows, v, value_dim, queries, value_dim)
    largest, log_total = load_statistics(statistics, half, first, rows, queries)
    key_base = key + b * key_b + (h // group) * key_h
    value_base = value + b * value_b + (h // group) * value_h
    total = tl.zeros((TILE_L, TILE_E), dtype=COMPUTE)
    last = keys
    if CAUSAL:
        last = tl.minimum(keys, (tl.program_id(1) + 1) * TILE_L)
    for start in range(0, last, TILE_S):
        columns = start + tl.arange(0, TILE_S)
        key_tile = load_tile(key_base, columns, e, key_s, keys, head_dim)
        value_tile = load_tile(value_base, columns, v, value_s, keys, value_dim)
        weights, _, grad_weights = weights_and_gradients(
            query_tile, key_tile, value_tile, grad_tile, largest, log_total,
            mask + b * mask_b + h * mask_h, seed, head,
            rows, columns, queries, keys, mask_l, mask_s, scale, dropout_scale, threshold,
            MASK, CAUSAL, DROPOUT, COMPUTE, PRECISION,
        )  # fmt: skip
        grad_scores = centred(weights, grad_weights, means, half, first, rows, queries)
        total = dot(grad_scores.to(key_tile.dtype), key_tile, total, PRECISION)
    place = (first + rows[:, None]) * head_dim + e[None, :]
    tl.store(grad_query + place, scaled(total, scale), mask=(rows[:, None] < queries) & (e[None, :] < head_dim))


@triton.jit
def grad_key_value_kernel(
    query, key, value, mask, seed, grad, statistics, half, means, grad_key, grad_value,
    heads, group, queries, keys, head_dim, value_dim,
    query_b, query_h, query_l, key_b, key_h, key_s, value_b, value_h, value_s, mask_b, mask_h, mask_l, mask_s,
    scale: tl.float64, dropout_scale: tl.float64, threshold,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
    TILE_L: tl.constexpr, TILE_S: tl.constexpr, TILE_E: tl.constexpr, TILE_V: tl.constexpr,
):  # fmt: skip
    """The gradients of one tile of keys and values, over every query head that shares them."""
    kv_head = tl.program_id(0)
    kv_heads = heads // group
    b, g = (kv_head // kv_heads).to(tl.int64), (kv_head % kv_heads).to(tl.int64)
    columns = tl.program_id(1) * TILE_S + tl.arange(0, TILE_S)
    e, v = tl.arange(0, TILE_E), tl.arange(0, TILE_V)
    key_tile = load_tile(key + b * key_b + g * key_h, columns, e, key_s, keys, head_dim)
    value_tile = load_tile(value + b * value_b + g * value_h, columns, v, value_s, keys, value_dim)
    total_key = tl.zeros((TILE_S, TILE_E), dtype=COMPUTE)
    total_value = tl.zeros((TILE_S, TILE_V), dtype=COMPUTE)
    start_row = 0
    if CAUSAL:
        start_row = (tl.program_id(1) * TILE_S // TILE_L) * TILE_L
    for member in range(0, group):
        h = g * group + member
        head = b * heads + h
        first = head * queries
        for start in range(start_row, queries, TILE_L):
            rows = start + tl.arange(0, TILE_L)
            query_tile = load_tile(query + b * query_b + h * query_h, rows, e, query_l, queries, head_dim)
            grad_tile = load_tile(grad + first * value_dim, rows, v, value_dim, queries, value_dim)
            largest, log_total = load_statistics(statistics, half, first, rows, queries)
            weights, used, grad_weights = weights_and_gradients(
                query_tile, key_tile, value_tile, grad_tile, largest, log_total,
                mask + b * mask_b + h * mask_h, seed, head,
                rows, columns, queries, keys, mask_l, mask_s, scale, dropout_scale, threshold,
                MASK, CAUSAL, DROPOUT, COMPUTE, PRECISION,
            )  # fmt: skip
            grad_scores = centred(weights, grad_weights, means, half, first, rows, queries)
            total_value = dot(tl.trans(used.to(grad_tile.dtype)), grad_tile, total_value, PRECISION)
            total_key = dot(tl.trans(grad_scores.to(query_tile.dtype)), query_tile, total_key, PRECISION)
    first_key = kv_head.to(tl.int64) * keys
    inside = columns[:, None] < keys
    place = (first_key + columns[:, None]) * head_dim + e[None, :]
    tl.store(grad_key + place, scaled(total_key, scale), mask=inside & (e[None, :] < head_dim))
    place = (first_key + columns[:, None]) * value_dim + v[None, :]
    tl.store(grad_value + place, total_value, mask=inside & (v[None, :] < value_dim))


@triton.jit
def grad_mask_kernel(
    query, key, value, mask, seed, grad, statistics, half, means, grad_mask,
    batch, heads, group, queries, keys, head_dim, value_dim,
    query_b, query_h, query_l, key_b, key_h, key_s, value_b, value_h, value_s, mask_b, mask_h, mask_l, mask_s,
    size_b, size_h, size_l, size_s,
    scale: tl.float64, dropout_scale: tl.float64, threshold,
    DROPOUT: tl.constexpr, COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
    TILE_L: tl.constexpr, TILE_S: tl.constexpr, TILE_E: tl.constexpr, TILE_V: tl.constexpr,
):  # fmt: skip
    """One tile of the gradient of an additive mask [size_b, size_h, size_l, size_s], summed where a size is 1."""
    plane = tl.program_id(0)
    first_b, first_h = plane // size_h, plane % size_h
    e, v = tl.arange(0, TILE_E), tl.arange(0, TILE_V)
    total = tl.zeros((TILE_L, TILE_S), dtype=COMPUTE)
    for b32 in range(first_b, batch if size_b == 1 else first_b + 1):
        for h32 in range(first_h, heads if size_h == 1 else first_h + 1):
            b, h = tl.cast(b32, tl.int64), tl.cast(h32, tl.int64)
            head = b * heads + h
            first = head * queries
            row_end = queries if size_l == 1 else tl.minimum(queries, (tl.program_id(1) + 1) * TILE_L)
            for start_row in range(tl.program_id(1) * TILE_L, row_end, TILE_L):
                rows = start_row + tl.arange(0, TILE_L)
                query_tile = load_tile(query + b * query_b + h * query_h, rows, e, query_l, queries, head_dim)
                grad_tile = load_tile(grad + first * value_dim, rows, v, value_dim, queries, value_dim)
                largest, log_total = load_statistics(statistics, half, first, rows, queries)
                column_end = keys if size_s == 1 else tl.minimum(keys, (tl.program_id(2) + 1) * TILE_S)
                for start in range(tl.program_id(2) * TILE_S, column_end, TILE_S):
                    columns = start + tl.arange(0, TILE_S)
                    key_tile = load_tile(key + b * key_b + (h // group) * key_h, columns, e, key_s, keys, head_dim)
                    value_tile = load_tile(
                        value + b * value_b + (h // group) * value_h, columns, v, value_s, keys, value_dim
                    )
                    weights, _, grad_weights = weights_and_gradients(
                        query_tile, key_tile, value_tile, grad_tile, largest, log_total,
                        mask + b * mask_b + h * mask_h,
                        seed, head, rows, columns, queries, keys, mask_l, mask_s, scale, dropout_scale, threshold,
                        ADDITIVE, False, DROPOUT, COMPUTE, PRECISION,
                    )  # fmt: skip
                    grad_scores = centred(weights, grad_weights, means, half, first, rows, queries)
                    total += grad_scores
    rows = tl.program_id(1) * TILE_L + tl.arange(0, TILE_L)
    columns = tl.program_id(2) * TILE_S + tl.arange(0, TILE_S)
    if size_l == 1:
        total = tl.where((rows == 0)[:, None], tl.sum(total, 0)[None, :], 0.0)
    if size_s == 1:
        total = tl.where((columns == 0)[None, :], tl.sum(total, 1)[:, None], 0.0)
    place = (plane.to(tl.int64) * size_l + rows[:, None]) * size_s + columns[None, :]
    tl.store(grad_mask + place, total, mask=(rows[:, None] < size_l) & (columns[None, :] < size_s))
