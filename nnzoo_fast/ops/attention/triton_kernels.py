"""`attention` in Triton: FlashAttention's tiles (Dao, "FlashAttention-2", 2023), with every option of the reference.

A program owns a tile of queries (forward, gradient of the query), of keys (gradients of key and value) or of the mask
(its gradient) and walks the other side in a fixed order, so results repeat bit by bit. Nothing of size queries x keys
is stored.
"""

import torch
import triton
import triton.language as tl

from nnzoo_fast.ops.attention.layout import Layout, allocate
from nnzoo_fast.ops.attention.triton_backward import (
    grad_key_value_kernel,
    grad_mask_kernel,
    grad_query_kernel,
    mean_kernel,
)
from nnzoo_fast.ops.attention.triton_forward import forward_kernel
from nnzoo_fast.triton_common import AheadOfTime, compute_type, precision


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
        forward_kernel[(batch * heads, triton.cdiv(queries, call.tile))](
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
        return (*zeros, torch.zeros_like(args[3]) if needs_mask else None, *[None] * (len(needs) - 4))
    means = torch.empty_like(statistics)
    upstream = (grad, statistics, statistics.numel() // 2, means)
    rest = (*call.shape, *call.strides, *call.numbers)
    mean_kernel[(batch * heads, triton.cdiv(queries, call.tile))](
        *call.tensors, *upstream, output, *rest, **call.flags, **call.tiles
    )
    grad_query = grad_key = grad_value = grad_mask = None
    if needs_query:
        grad_query = grad.new_empty((*call.lead, queries, head_dim))
        grad_query_kernel[(batch * heads, triton.cdiv(queries, call.tile))](
            *call.tensors, *upstream, grad_query, *rest, **call.flags, **call.tiles
        )
    if needs_key or needs_value:
        grad_key = grad.new_empty((*call.kv_lead, keys, head_dim))
        grad_value = grad.new_empty((*call.kv_lead, keys, value_dim))
        if keys:
            grad_key_value_kernel[(batch * kv_heads, triton.cdiv(keys, call.tile))](
                *call.tensors, *upstream, grad_key, grad_value, *rest, **call.flags, **call.tiles
            )
    if needs_mask:
        grad_mask = mask_gradient(call, args[3], upstream)
    found = zip((grad_query, grad_key, grad_value), args[:3], needs[:3], strict=True)
    sums = [tensor.sum_to_size(like.shape) if needed else None for tensor, like, needed in found]
    return (*sums, grad_mask, *[None] * (len(needs) - 4))


def mask_gradient(call: Call, attn_mask: torch.Tensor, upstream: tuple) -> torch.Tensor:
    batch, heads, _, queries, keys, _, _ = call.sizes
    direct = attn_mask.dim() <= 4 and len(call.lead) <= 2
    shape = (batch, heads, queries, keys)
    if direct:
        shape = (*(1,) * (4 - attn_mask.dim()), *attn_mask.shape)
    grad_mask = torch.empty(shape, dtype=call.sums, device=attn_mask.device)
    if grad_mask.numel():
        grid = (shape[0] * shape[1], triton.cdiv(shape[2], call.tile), triton.cdiv(shape[3], call.tile))
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
        numbers = dict(scale="fp64", dropout_scale="fp64", threshold="i64")
        upstream = dict(grad=pointer, statistics="*fp32", half="i64", means="*fp32")
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
                mean_kernel,
                dict(**inputs, **upstream, output=pointer, **common),
                dict(**flags, **tiles),
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
