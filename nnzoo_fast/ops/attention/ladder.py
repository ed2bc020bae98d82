"""The steps from the definition to the kernel, each with the signature of `attention`; the last one is `attention`."""

import torch

from nnzoo_fast.ops.attention.reference import reference
from nnzoo_fast.random import new_seed, philox


def naive(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """All scores at once: three passes over an L x S matrix in memory."""
    seed = new_seed(query.device) if dropout_p > 0 else None
    return reference(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed)


def online_by_key(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """The online softmax in its purest form: one key at a time, nothing of size L x S."""
    return _online(1, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def online_by_block(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """The same with 128 keys at a time: the products become matrix products, the rescaling is 128 times rarer."""
    return _online(128, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def _online(block, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa):
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    seed = new_seed(query.device) if dropout_p > 0 else None
    scale = max(query.size(-1), 1) ** -0.5 if scale is None else scale
    lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    queries, keys = query.size(-2), key.size(-2)
    if attn_mask is not None:
        attn_mask = attn_mask.expand(*lead, queries, keys)
    rows = torch.arange(lead.numel() * queries).view(*lead, queries, 1)

    maximum = query.new_full((*lead, queries, 1), -torch.inf)
    total = query.new_zeros((*lead, queries, 1))
    output = query.new_zeros((*lead, queries, value.size(-1)))
    for begin in range(0, keys, block):
        here = slice(begin, min(begin + block, keys))
        column = torch.arange(here.start, here.stop)
        scores = query @ key[..., here, :].transpose(-2, -1) * scale
        if is_causal:
            scores = scores.masked_fill(column > torch.arange(queries)[:, None], -torch.inf)
        elif attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask[..., here], -torch.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask[..., here].to(scores.dtype)
        top = torch.maximum(maximum, scores.detach().amax(-1, keepdim=True))
        shift = top.masked_fill(top.isneginf(), 0)
        weights, factor = (scores - shift).exp(), (maximum - shift).exp()
        total = total * factor + weights.sum(-1, keepdim=True)
        if dropout_p > 0:
            kept = philox(seed, rows * keys + column) >= int(dropout_p * 2**32)
            weights = weights * kept * (1 / (1 - dropout_p) if dropout_p < 1 else 0)
        output = output * factor + weights @ value[..., here, :]
        maximum = top
    return output / total.masked_fill(total == 0, 1)
