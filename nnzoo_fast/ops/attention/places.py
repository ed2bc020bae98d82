"""Which keys a query may see by its place: windows, packed sequences, and the ALiBi bias of the distance."""

from typing import NamedTuple

import torch
from torch import Tensor

from nnzoo_fast.front_door import EAGER, route


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
        before, after, offset, slopes, starts_q, starts_k = self
        limited = before is not None or after is not None or offset != 0
        return limited or slopes is not None or starts_q is not None or starts_k is not None

    @property
    def packed(self) -> bool:
        return self.cu_seqlens_q is not None


def plain_places(*places) -> tuple[bool, str]:
    """The verdict of kernels that know `is_causal` and masks alone."""
    if Places(*places).matter:
        return False, "windows, offsets, ALiBi and packed sequences: this kernel has is_causal and masks"
    return True, ""


def checked_starts(name: str, starts: Tensor, total: int) -> Tensor:
    """`starts` as contiguous int64.

    Raises:
        RuntimeError: they don't rise from 0 to `total`.
    """
    starts = starts.long().contiguous()
    values = starts.tolist()
    if values[0] != 0 or values[-1] != total or any(a > b for a, b in zip(values, values[1:], strict=False)):
        raise RuntimeError(f"attention: {name} must rise from 0 to {total}, got {values}")
    return starts


def distances(queries: int, keys: int, places: Places, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """int64 [L, S]: how many places each key is behind each query; bool [L, S]: of the same sequence, if packed."""
    query, key = (torch.arange(length, device=device) for length in (queries, keys))
    together = None
    if places.packed:
        if device.type == "cpu" and route(places[4:]) is EAGER:  # else nobody may look at values
            checked_starts("cu_seqlens_q", places.cu_seqlens_q, queries)
            checked_starts("cu_seqlens_k", places.cu_seqlens_k, keys)
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
        # Half precision has no digits for distances. On CUDA torch's fused kernels want a mask of query's dtype.
        wide = query.is_cpu and query.dtype in (torch.float16, torch.bfloat16)
        sloped = bias(distance, places.alibi_slopes, torch.float32 if wide else query.dtype)
        attn_mask = sloped if attn_mask is None else attn_mask.to(sloped.dtype) + sloped
    if attn_mask is None or shown is None:
        return shown if attn_mask is None else attn_mask
    return attn_mask.masked_fill(~shown, -torch.inf)
