"""What `attention` means."""

import torch

from nnzoo_fast.ops.attention.places import Places, bias, distances, visible
from nnzoo_fast.random import keep_mask


def reference(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False, seed=None, *places
):
    """softmax(query @ key^T * scale + mask) @ value, where a query that sees no key gets 0."""
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    if scale is None:
        scale = max(query.size(-1), 1) ** -0.5
    scores = query @ key.transpose(-2, -1) * scale
    places = Places(*places)
    distance, together = distances(*scores.shape[-2:], places, scores.device)
    shown = visible(distance, together, is_causal, places)
    if places.alibi_slopes is not None:
        scores = scores + bias(distance, places.alibi_slopes, scores.dtype)
    if shown is not None:
        scores = scores.masked_fill(~shown, -torch.inf)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask.to(scores.dtype)
    blind = scores.isneginf().all(-1, keepdim=True)
    weights = scores.masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0)
    if dropout_p > 0:
        kept = keep_mask(seed, weights.shape, dropout_p)
        weights = weights * kept * (1 / (1 - dropout_p) if dropout_p < 1 else 0)
    return weights @ value
