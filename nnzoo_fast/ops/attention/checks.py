"""What `attention` refuses, with the exception that torch raises for the same mistake."""

import torch

from nnzoo_fast.ops.attention.layout import leading_shape
from nnzoo_fast.ops.attention.places import Places

FARTHEST = 1 << 59
"""Of `query_offset`: kernels add it to places, and to bounds of 2^60."""

NAMES = ("query", "key", "value")


def check(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed, *places):
    tensors = (query, key, value)
    for name, tensor in zip(NAMES, tensors, strict=True):
        if tensor.dim() < 2:
            raise RuntimeError(f"attention: {name} must have at least 2 dimensions, got {list(tensor.shape)}")
        if tensor.dtype != query.dtype:
            raise RuntimeError(f"attention: {name} is {tensor.dtype}, expected query's {query.dtype}")
        if tensor.device != query.device:
            raise RuntimeError(f"attention: {name} is on {tensor.device}, expected query's {query.device}")
    if key.shape[-1] != query.shape[-1]:
        raise RuntimeError(f"attention: key {list(key.shape)} must end in query's size {query.shape[-1]}")
    if value.shape[-2] != key.shape[-2]:
        raise RuntimeError(
            f"attention: value {list(value.shape)} must have as many rows as key, {key.shape[-2]} of {list(key.shape)}"
        )
    _check_leading(query, key, value, enable_gqa)
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"attention: dropout_p must be between 0 and 1, got {dropout_p}")
    if attn_mask is not None:
        _check_mask(query, key, attn_mask, is_causal, enable_gqa)
    places = Places(*places)
    if places.matter:
        _check_places(query, key, value, enable_gqa, places)


def _check_places(query, key, value, enable_gqa, places: Places):
    for name, size in (("window[0]", places.before), ("window[1]", places.after)):
        if size is not None and size < 0:
            raise ValueError(f"attention: {name} must be None or at least 0, got {size}")
    if abs(places.query_offset) > FARTHEST:
        raise RuntimeError(f"attention: query_offset must be at most 2^59 from 0, got {places.query_offset}")
    slopes = places.alibi_slopes
    if slopes is not None:
        if slopes.device != query.device:
            raise RuntimeError(f"attention: alibi_slopes is on {slopes.device}, expected query's {query.device}")
        if slopes.requires_grad and torch.is_grad_enabled():
            raise RuntimeError("attention: alibi_slopes gets no gradient: a learnt bias is an attn_mask")
        lead = leading_shape(query, key, value, enable_gqa)
        sizes = zip(reversed(slopes.shape), reversed(lead), strict=False)
        if slopes.dim() > len(lead) or any(size not in (1, wanted) for size, wanted in sizes):
            raise RuntimeError(f"attention: alibi_slopes {list(slopes.shape)} must broadcast to the heads {list(lead)}")
    starts = {"cu_seqlens_q": places.cu_seqlens_q, "cu_seqlens_k": places.cu_seqlens_k}
    for name, tensor in starts.items():
        if tensor is None:
            continue
        if tensor.dtype not in (torch.int32, torch.int64) or tensor.device != query.device:
            raise RuntimeError(
                f"attention: {name} is {tensor.dtype} on {tensor.device}, expected int32 or int64 on {query.device}"
            )
        if tensor.dim() != 1 or len(tensor) < 2 or len(tensor) != len(places.cu_seqlens_q):
            raise RuntimeError(
                f"attention: {name} is {list(tensor.shape)}, expected [sequences + 1], the same for queries and keys"
            )


def _check_leading(query, key, value, enable_gqa):
    batch = [tuple(tensor.shape[:-2]) for tensor in (query, key, value)]
    if enable_gqa:
        for name, tensor in zip(NAMES, (query, key, value), strict=True):
            if tensor.dim() < 3:
                raise IndexError(
                    f"attention: enable_gqa needs {name} [*, heads, length, size], got {list(tensor.shape)}"
                )
        for name, tensor in (("key", key), ("value", value)):
            if tensor.shape[-3] == 0 or query.shape[-3] % tensor.shape[-3] != 0:
                raise RuntimeError(
                    f"attention: the {tensor.shape[-3]} heads of {name} must divide the {query.shape[-3]} of query"
                )
        batch = [shape[:-1] for shape in batch]
    if batch[0] == batch[1] == batch[2]:
        return
    try:
        torch.broadcast_shapes(*batch)
    except RuntimeError:
        shapes = ", ".join(f"{name} {list(t.shape)}" for name, t in zip(NAMES, (query, key, value), strict=True))
        raise RuntimeError(f"attention: the leading dimensions of {shapes} don't broadcast") from None


def _check_mask(query, key, attn_mask, is_causal, enable_gqa):
    if is_causal:
        raise RuntimeError("attention: attn_mask must be None when is_causal=True")
    if attn_mask.dtype not in (torch.bool, torch.float32, query.dtype):
        raise RuntimeError(
            f"attention: attn_mask is {attn_mask.dtype}, expected torch.bool, torch.float32 or query's {query.dtype}"
        )
    if attn_mask.device != query.device:
        raise RuntimeError(f"attention: attn_mask is on {attn_mask.device}, expected query's {query.device}")
    if attn_mask.dim() < 2:
        raise IndexError(f"attention: attn_mask must have at least 2 dimensions, got {list(attn_mask.shape)}")
    if enable_gqa:
        lead = (*torch.broadcast_shapes(query.shape[:-3], key.shape[:-3]), query.shape[-3])
    elif query.shape[:-2] == key.shape[:-2]:
        lead = query.shape[:-2]
    else:
        lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2])
    scores = (*lead, query.shape[-2], key.shape[-2])
    sizes = zip(reversed(attn_mask.shape), reversed(scores), strict=False)
    if attn_mask.dim() > len(scores) or any(size not in (1, wanted) for size, wanted in sizes):
        raise RuntimeError(f"attention: attn_mask {list(attn_mask.shape)} must broadcast to the scores {list(scores)}")
