"""`attention` in Triton: FlashAttention's tiles (Dao, "FlashAttention-2", 2023), with every option of the reference.

A program owns a tile of queries (forward, gradient of the query), of keys (gradients of key and value) or of the mask
(its gradient) and walks the other side in a fixed order, so results repeat bit by bit. Weights are recomputed from
two numbers per query in backward; nothing of size queries x keys is stored.
"""

import torch
import triton
import triton.language as tl

from nnzoo_fast.ops.attention.layout import Layout, allocate
from nnzoo_fast.triton_common import AheadOfTime, compute_type, dot, philox, precision

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
    scores = dot(query, tl.trans(key), zeros, PRECISION) * scale
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


@triton.jit
def forward_kernel(
    query, key, value, mask, seed, output, statistics,
    heads, group, queries, keys, head_dim, value_dim,
    query_b, query_h, query_l, key_b, key_h, key_s, value_b, value_h, value_s, mask_b, mask_h, mask_l, mask_s,
    scale, dropout_scale, threshold,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, KEEP: tl.constexpr,
    COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
    TILE_L: tl.constexpr, TILE_S: tl.constexpr, TILE_E: tl.constexpr, TILE_V: tl.constexpr,
):  # fmt: skip
    """output and statistics of one tile of queries: one pass over the keys with a running maximum and sum."""
    head = tl.program_id(1)
    b, h = (head // heads).to(tl.int64), (head % heads).to(tl.int64)
    rows = tl.program_id(0) * TILE_L + tl.arange(0, TILE_L)
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
        last = tl.minimum(keys, (tl.program_id(0) + 1) * TILE_L)
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
            weights = tl.where(kept, weights * dropout_scale, 0.0)
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
        half = tl.num_programs(1).to(tl.int64) * queries
        tl.store(to + half, tl.log(tl.where(blind, 1.0, total)), mask=rows < queries)


@triton.jit
def weight_gradients(
    query_tile, key_tile, value_tile, grad_tile, largest, log_total, dots, mask, seed, head, rows, columns,
    queries, keys, mask_l, mask_s, scale, dropout_scale, threshold,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The weights as the output used them, and the gradient of the scores, for one tile."""
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
        used = tl.where(kept, weights * dropout_scale, 0.0)
        grad_weights = tl.where(kept, grad_weights * dropout_scale, 0.0)
    return used, weights * (grad_weights - dots[:, None])


@triton.jit
def grad_query_kernel(
    query, key, value, mask, seed, grad, statistics, half, dots_of, grad_query,
    heads, group, queries, keys, head_dim, value_dim,
    query_b, query_h, query_l, key_b, key_h, key_s, value_b, value_h, value_s, mask_b, mask_h, mask_l, mask_s,
    scale, dropout_scale, threshold,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
    TILE_L: tl.constexpr, TILE_S: tl.constexpr, TILE_E: tl.constexpr, TILE_V: tl.constexpr,
):  # fmt: skip
    """The gradient of one tile of queries."""
    head = tl.program_id(1)
    b, h = (head // heads).to(tl.int64), (head % heads).to(tl.int64)
    rows = tl.program_id(0) * TILE_L + tl.arange(0, TILE_L)
    e, v = tl.arange(0, TILE_E), tl.arange(0, TILE_V)
    first = head.to(tl.int64) * queries
    query_tile = load_tile(query + b * query_b + h * query_h, rows, e, query_l, queries, head_dim)
    grad_tile = load_tile(grad + first * value_dim, rows, v, value_dim, queries, value_dim)
    largest = tl.load(statistics + first + rows, mask=rows < queries, other=float("inf"))
    log_total = tl.load(statistics + half + first + rows, mask=rows < queries, other=0.0)
    dots = tl.load(dots_of + first + rows, mask=rows < queries, other=0.0)
    key_base = key + b * key_b + (h // group) * key_h
    value_base = value + b * value_b + (h // group) * value_h
    total = tl.zeros((TILE_L, TILE_E), dtype=COMPUTE)
    last = keys
    if CAUSAL:
        last = tl.minimum(keys, (tl.program_id(0) + 1) * TILE_L)
    for start in range(0, last, TILE_S):
        columns = start + tl.arange(0, TILE_S)
        key_tile = load_tile(key_base, columns, e, key_s, keys, head_dim)
        value_tile = load_tile(value_base, columns, v, value_s, keys, value_dim)
        _, grad_scores = weight_gradients(
            query_tile, key_tile, value_tile, grad_tile, largest, log_total, dots,
            mask + b * mask_b + h * mask_h, seed, head,
            rows, columns, queries, keys, mask_l, mask_s, scale, dropout_scale, threshold,
            MASK, CAUSAL, DROPOUT, COMPUTE, PRECISION,
        )  # fmt: skip
        total = dot(grad_scores.to(key_tile.dtype), key_tile, total, PRECISION)
    place = (first + rows[:, None]) * head_dim + e[None, :]
    tl.store(grad_query + place, total * scale, mask=(rows[:, None] < queries) & (e[None, :] < head_dim))


@triton.jit
def grad_key_value_kernel(
    query, key, value, mask, seed, grad, statistics, half, dots_of, grad_key, grad_value,
    heads, group, queries, keys, head_dim, value_dim,
    query_b, query_h, query_l, key_b, key_h, key_s, value_b, value_h, value_s, mask_b, mask_h, mask_l, mask_s,
    scale, dropout_scale, threshold,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
    TILE_L: tl.constexpr, TILE_S: tl.constexpr, TILE_E: tl.constexpr, TILE_V: tl.constexpr,
):  # fmt: skip
    """The gradients of one tile of keys and values, over every query head that shares them."""
    kv_head = tl.program_id(1)
    kv_heads = heads // group
    b, g = (kv_head // kv_heads).to(tl.int64), (kv_head % kv_heads).to(tl.int64)
    columns = tl.program_id(0) * TILE_S + tl.arange(0, TILE_S)
    e, v = tl.arange(0, TILE_E), tl.arange(0, TILE_V)
    key_tile = load_tile(key + b * key_b + g * key_h, columns, e, key_s, keys, head_dim)
    value_tile = load_tile(value + b * value_b + g * value_h, columns, v, value_s, keys, value_dim)
    total_key = tl.zeros((TILE_S, TILE_E), dtype=COMPUTE)
    total_value = tl.zeros((TILE_S, TILE_V), dtype=COMPUTE)
    start_row = 0
    if CAUSAL:
        start_row = (tl.program_id(0) * TILE_S // TILE_L) * TILE_L
    for member in range(0, group):
        h = g * group + member
        head = b * heads + h
        first = head * queries
        for start in range(start_row, queries, TILE_L):
            rows = start + tl.arange(0, TILE_L)
            query_tile = load_tile(query + b * query_b + h * query_h, rows, e, query_l, queries, head_dim)
            grad_tile = load_tile(grad + first * value_dim, rows, v, value_dim, queries, value_dim)
            largest = tl.load(statistics + first + rows, mask=rows < queries, other=float("inf"))
            log_total = tl.load(statistics + half + first + rows, mask=rows < queries, other=0.0)
            dots = tl.load(dots_of + first + rows, mask=rows < queries, other=0.0)
            used, grad_scores = weight_gradients(
                query_tile, key_tile, value_tile, grad_tile, largest, log_total, dots,
                mask + b * mask_b + h * mask_h, seed, head,
                rows, columns, queries, keys, mask_l, mask_s, scale, dropout_scale, threshold,
                MASK, CAUSAL, DROPOUT, COMPUTE, PRECISION,
            )  # fmt: skip
            total_value = dot(tl.trans(used.to(grad_tile.dtype)), grad_tile, total_value, PRECISION)
            total_key = dot(tl.trans(grad_scores.to(query_tile.dtype)), query_tile, total_key, PRECISION)
    first_key = kv_head.to(tl.int64) * keys
    inside = columns[:, None] < keys
    place = (first_key + columns[:, None]) * head_dim + e[None, :]
    tl.store(grad_key + place, total_key * scale, mask=inside & (e[None, :] < head_dim))
    place = (first_key + columns[:, None]) * value_dim + v[None, :]
    tl.store(grad_value + place, total_value, mask=inside & (v[None, :] < value_dim))


@triton.jit
def grad_mask_kernel(
    query, key, value, mask, seed, grad, statistics, half, dots_of, grad_mask,
    batch, heads, group, queries, keys, head_dim, value_dim,
    query_b, query_h, query_l, key_b, key_h, key_s, value_b, value_h, value_s, mask_b, mask_h, mask_l, mask_s,
    size_b, size_h, size_l, size_s,
    scale, dropout_scale, threshold,
    DROPOUT: tl.constexpr, COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
    TILE_L: tl.constexpr, TILE_S: tl.constexpr, TILE_E: tl.constexpr, TILE_V: tl.constexpr,
):  # fmt: skip
    """One tile of the gradient of an additive mask [size_b, size_h, size_l, size_s], summed where a size is 1."""
    plane = tl.program_id(2)
    first_b, first_h = plane // size_h, plane % size_h
    e, v = tl.arange(0, TILE_E), tl.arange(0, TILE_V)
    total = tl.zeros((TILE_L, TILE_S), dtype=COMPUTE)
    for b32 in range(first_b, batch if size_b == 1 else first_b + 1):
        for h32 in range(first_h, heads if size_h == 1 else first_h + 1):
            b, h = tl.cast(b32, tl.int64), tl.cast(h32, tl.int64)
            head = b * heads + h
            first = head * queries
            row_end = queries if size_l == 1 else tl.minimum(queries, (tl.program_id(0) + 1) * TILE_L)
            for start_row in range(tl.program_id(0) * TILE_L, row_end, TILE_L):
                rows = start_row + tl.arange(0, TILE_L)
                query_tile = load_tile(query + b * query_b + h * query_h, rows, e, query_l, queries, head_dim)
                grad_tile = load_tile(grad + first * value_dim, rows, v, value_dim, queries, value_dim)
                largest = tl.load(statistics + first + rows, mask=rows < queries, other=float("inf"))
                log_total = tl.load(statistics + half + first + rows, mask=rows < queries, other=0.0)
                dots = tl.load(dots_of + first + rows, mask=rows < queries, other=0.0)
                column_end = keys if size_s == 1 else tl.minimum(keys, (tl.program_id(1) + 1) * TILE_S)
                for start in range(tl.program_id(1) * TILE_S, column_end, TILE_S):
                    columns = start + tl.arange(0, TILE_S)
                    key_tile = load_tile(key + b * key_b + (h // group) * key_h, columns, e, key_s, keys, head_dim)
                    value_tile = load_tile(
                        value + b * value_b + (h // group) * value_h, columns, v, value_s, keys, value_dim
                    )
                    _, grad_scores = weight_gradients(
                        query_tile, key_tile, value_tile, grad_tile, largest, log_total, dots,
                        mask + b * mask_b + h * mask_h,
                        seed, head, rows, columns, queries, keys, mask_l, mask_s, scale, dropout_scale, threshold,
                        ADDITIVE, False, DROPOUT, COMPUTE, PRECISION,
                    )  # fmt: skip
                    total += grad_scores
    rows = tl.program_id(0) * TILE_L + tl.arange(0, TILE_L)
    columns = tl.program_id(1) * TILE_S + tl.arange(0, TILE_S)
    if size_l == 1:
        total = tl.where((rows == 0)[:, None], tl.sum(total, 0)[None, :], 0.0)
    if size_s == 1:
        total = tl.where((columns == 0)[None, :], tl.sum(total, 1)[:, None], 0.0)
    place = (plane.to(tl.int64) * size_l + rows[:, None]) * size_s + columns[None, :]
    tl.store(grad_mask + place, total, mask=(rows[:, None] < size_l) & (columns[None, :] < size_s))


class Call(Layout):
    """A layout with the arguments that all kernels share."""

    def __init__(self, *args):
        super().__init__(*args)
        batch, heads, kv_heads, queries, keys, head_dim, value_dim = self.sizes
        unread = self.query  # a kernel may add offsets to a pointer that it never reads
        mask, seed = (unread if tensor is None else tensor for tensor in (self.mask, self.seed))
        self.tensors = (self.query, self.key, self.value, mask, seed)
        self.shape = (heads, heads // max(kv_heads, 1), queries, keys, head_dim, value_dim)
        self.strides = [stride for tensor in self.tensors[:3] for stride in tensor.stride()[:3]]
        self.strides += (0, 0, 0, 0) if self.mask is None else self.mask.stride()
        dropped = self.dropout_p
        self.numbers = (self.scale, 1 / (1 - dropped) if dropped < 1 else 0.0, int(dropped * 2**32))
        self.flags = dict(MASK=self.mask_kind, CAUSAL=self.is_causal)
        wide = max(head_dim, value_dim)
        tile = 16 if self.sums == torch.float64 or wide > 128 else 64 if wide <= 64 else 32
        self.tile = tile
        self.tiles = dict(
            DROPOUT=dropped > 0, COMPUTE=compute_type(self.query.dtype), PRECISION=precision(self.query.dtype),
            TILE_L=tile, TILE_S=tile, TILE_E=padded(head_dim), TILE_V=padded(value_dim),
        )  # fmt: skip


def padded(size: int) -> int:
    """The next size that a tile can have."""
    return max(16, triton.next_power_of_2(size))


def forward(*args):
    *args, training = args
    output, statistics = allocate(*args, training)
    call = Call(*args)
    batch, heads, _, queries, *_ = call.sizes
    if not call.is_empty:
        forward_kernel[(triton.cdiv(queries, call.tile), batch * heads)](
            *call.tensors, output, statistics, *call.shape, *call.strides, *call.numbers,
            **call.flags, KEEP=training, **call.tiles,
        )  # fmt: skip
    return output, statistics


def backward(grads, args, outputs, needs):
    call = Call(*args)
    output, statistics = outputs
    batch, heads, kv_heads, queries, keys, head_dim, value_dim = call.sizes
    grad = grads[0].contiguous()
    needs_query, needs_key, needs_value, needs_mask = needs[:4]
    if call.is_empty:
        zeros = [grad.new_zeros(arg.shape) if needed else None for arg, needed in zip(args[:3], needs, strict=False)]
        return (*zeros, torch.zeros_like(args[3]) if needs_mask else None, None)
    dots = (grad.to(call.sums) * output.to(call.sums)).sum(-1).contiguous()
    upstream = (grad, statistics, statistics.numel() // 2, dots)
    rest = (*call.shape, *call.strides, *call.numbers)
    grad_query = grad_key = grad_value = grad_mask = None
    if needs_query:
        grad_query = grad.new_empty((*call.lead, queries, head_dim))
        grad_query_kernel[(triton.cdiv(queries, call.tile), batch * heads)](
            *call.tensors, *upstream, grad_query, *rest, **call.flags, **call.tiles
        )
    if needs_key or needs_value:
        grad_key = grad.new_empty((*call.kv_lead, keys, head_dim))
        grad_value = grad.new_empty((*call.kv_lead, keys, value_dim))
        if keys:
            grad_key_value_kernel[(triton.cdiv(keys, call.tile), batch * kv_heads)](
                *call.tensors, *upstream, grad_key, grad_value, *rest, **call.flags, **call.tiles
            )
    if needs_mask:
        grad_mask = mask_gradient(call, args[3], upstream)
    found = zip((grad_query, grad_key, grad_value), args[:3], needs[:3], strict=True)
    sums = [tensor.sum_to_size(like.shape) if needed else None for tensor, like, needed in found]
    return (*sums, grad_mask, None)


def mask_gradient(call: Call, attn_mask: torch.Tensor, upstream: tuple) -> torch.Tensor:
    batch, heads, _, queries, keys, _, _ = call.sizes
    direct = attn_mask.dim() <= 4 and len(call.lead) <= 2
    shape = (batch, heads, queries, keys)
    if direct:
        shape = (*(1,) * (4 - attn_mask.dim()), *attn_mask.shape)
    grad_mask = torch.empty(shape, dtype=call.sums, device=attn_mask.device)
    if grad_mask.numel():
        grid = (triton.cdiv(shape[2], call.tile), triton.cdiv(shape[3], call.tile), shape[0] * shape[1])
        grad_mask_kernel[grid](
            *call.tensors, *upstream, grad_mask, batch, *call.shape, *call.strides, *shape, *call.numbers, **call.tiles
        )
    if not direct:
        grad_mask = grad_mask.view(*call.lead, queries, keys)
    return grad_mask.sum_to_size(attn_mask.shape).to(attn_mask.dtype)


def ahead_of_time() -> list[AheadOfTime]:
    """What compiles for a GPU that isn't there."""
    cases = []
    for kind in ("bf16", "fp16", "fp32"):
        pointer = f"*{kind}"
        inputs = dict(query=pointer, key=pointer, value=pointer, mask="*fp32", seed="*i64")
        shape = dict.fromkeys(("heads", "group", "queries", "keys", "head_dim", "value_dim"), "i32")
        names = [
            f"{tensor}_{axis}" for tensor, axes in (("query", "bhl"), ("key", "bhs"), ("value", "bhs")) for axis in axes
        ]
        strides = dict.fromkeys((*names, "mask_b", "mask_h", "mask_l", "mask_s"), "i32")
        numbers = dict(scale="fp32", dropout_scale="fp32", threshold="i64")
        upstream = dict(grad=pointer, statistics="*fp32", half="i64", dots_of="*fp32")
        tiles = dict(DROPOUT=True, COMPUTE=tl.float32, PRECISION="ieee", TILE_L=32, TILE_S=32, TILE_E=64, TILE_V=64)
        flags = dict(MASK=2, CAUSAL=False)
        common = dict(**shape, **strides, **numbers)
        cases += [
            AheadOfTime(
                forward_kernel,
                dict(**inputs, output=pointer, statistics="*fp32", **common),
                dict(**flags, KEEP=True, **tiles),
            ),
            AheadOfTime(
                grad_query_kernel,
                dict(**inputs, **upstream, grad_query=pointer, **common),
                dict(**flags, **tiles),
            ),
            AheadOfTime(
                grad_key_value_kernel,
                dict(**inputs, **upstream, grad_key=pointer, grad_value=pointer, **common),
                dict(**flags, **tiles),
            ),
            AheadOfTime(
                grad_mask_kernel,
                dict(
                    **inputs, **upstream, grad_mask="*fp32", batch="i32",
                    **dict.fromkeys(("size_b", "size_h", "size_l", "size_s"), "i32"), **common,
                ),
                tiles,
            ),
        ]  # fmt: skip
    return cases
