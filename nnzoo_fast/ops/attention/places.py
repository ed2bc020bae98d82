"""Which keys a query may see by its place: windows, packed sequences, and the ALiBi bias of the distance."""

from typing import NamedTuple

import torch
from torch import Tensor


class Places(NamedTuple):
    """The last arguments of the operation's schema. Query i of a sequence stands at its key i + query_offset."""

    before: int | None = None
    after: int | None = None
    query_offset: int = 0
    alibi_slopes: Tensor | None = None
    cu_seqlens_q: Tensor | None = None
    cu_seqlens_k: Tensor | None = None

    @property
    def matter(self) -> bool:
        """Whether this is more than `is_causal` says."""
        return self.query_offset != 0 or any(value is not None for value in (*self[:2], *self[3:]))

    @property
    def packed(self) -> bool:
        return self.cu_seqlens_q is not None


def plain_places(*places) -> tuple[bool, str]:
    """The verdict of kernels that know `is_causal` and masks alone."""
    if Places(*places).matter:
        return False, "windows, offsets, ALiBi and packed sequences: this kernel has is_causal and masks"
    return True, ""


def distances(queries: int, keys: int, places: Places, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """int64 [L, S]: how many places each key is behind each query; bool [L, S]: of the same sequence, if packed."""
    query, key = (torch.arange(length, device=device) for length in (queries, keys))
    together = None
    if places.packed:
        starts_q, starts_k = places.cu_seqlens_q.long(), places.cu_seqlens_k.long()
        of_query = torch.searchsorted(starts_q[1:].contiguous(), query, right=True)
        of_key = torch.searchsorted(starts_k[1:].contiguous(), key, right=True)
        together = of_query[:, None] == of_key
        query, key = query - starts_q[of_query], key - starts_k[of_key]
    return key - query[:, None] - places.query_offset, together


def visible(distance: Tensor, together: Tensor | None, is_causal: bool, places: Places) -> Tensor | None:
    """bool [L, S], or None where every query sees every key."""
    found = together
    for shown in (
        distance >= -places.before if places.before is not None else None,
        distance <= places.after if places.after is not None else None,
        distance <= 0 if is_causal else None,
    ):
        if shown is not None:
            found = shown if found is None else found & shown
    return found


def bias(distance: Tensor, slopes: Tensor, dtype: torch.dtype) -> Tensor:
    """ALiBi: -slope * |distance|, [*, L, S] for slopes [*]."""
    return -slopes.to(dtype)[..., None, None] * distance.abs().to(dtype)


def as_mask(query: Tensor, key: Tensor, attn_mask: Tensor | None, is_causal: bool, places: Places) -> Tensor | None:
    """Everything as one mask of `scaled_dot_product_attention`."""
    distance, together = distances(query.shape[-2], key.shape[-2], places, query.device)
    shown = visible(distance, together, is_causal, places)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        shown = attn_mask if shown is None else attn_mask & shown
        attn_mask = None
    if places.alibi_slopes is not None:
        sloped = bias(distance, places.alibi_slopes, query.dtype)
        attn_mask = sloped if attn_mask is None else attn_mask.to(query.dtype) + sloped
    if attn_mask is None or shown is None:
        return shown if attn_mask is None else attn_mask
    return attn_mask.masked_fill(~shown, -torch.inf)
