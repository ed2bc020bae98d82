"""A call of `attention` as its kernels see it: what is allocated, and the tensors in four dimensions."""

import torch

from nnzoo_fast._extension import DTYPE_CODES
from nnzoo_fast.backends import Verdict, address
from nnzoo_fast.ops.attention.places import Places, checked_starts

NO_MASK, BOOLEAN_MASK, ADDITIVE_MASK = range(3)
"""The codes of `enum class MaskKind` in csrc/ops/attention/attention.h."""

UNBOUNDED = 1 << 60
"""`unbounded` there."""


def kernels_support(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed, *places) -> Verdict:
    """What every kernel asks of a call, beside its device and dtype."""
    if enable_gqa and key.shape[-3] != value.shape[-3]:
        return False, f"key has {key.shape[-3]} heads and value {value.shape[-3]}"
    if dropout_p > 0 and seed is None:
        return False, "dropout without a seed"
    return True, ""


def leading_shape(query, key, value, enable_gqa: bool) -> tuple[int, ...]:
    """The output's dimensions before the last two."""
    if query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:  # broadcast_shapes takes longer than a small kernel
        return tuple(query.shape[:-2])
    if enable_gqa:
        batch = torch.broadcast_shapes(query.shape[:-3], key.shape[:-3], value.shape[:-3])
        return (*batch, query.shape[-3])
    return tuple(torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2]))


def allocate(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed, *others):
    *_, training = others  # the places, and whether gradients are wanted
    rows = (*leading_shape(query, key, value, enable_gqa), query.shape[-2])
    output = query.new_empty((*rows, value.shape[-1]))
    sums = torch.float64 if query.dtype == torch.float64 else torch.float32
    return output, query.new_empty((2, *rows) if training else 0, dtype=sums)


def heads_of(tensor: torch.Tensor, lead: tuple[int, ...]) -> torch.Tensor:
    """`tensor` broadcast to the leading dimensions `lead`, as [B, H, length, size] with adjacent features."""
    if tensor.shape[:-2] != lead:
        tensor = tensor.expand(*lead, *tensor.shape[-2:])
    if tensor.dim() != 4:
        batch = 1
        for size in lead[:-1]:
            batch *= size
        tensor = tensor.reshape(batch, lead[-1] if lead else 1, *tensor.shape[-2:])
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] <= 1 else tensor.contiguous()


class Layout:
    """A call as the kernels see it: four-dimensional views, and copies where strides leave no other way."""

    def __init__(self, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed, *places):
        self.lead = leading_shape(query, key, value, enable_gqa)
        self.kv_lead = (*self.lead[:-1], key.shape[-3]) if enable_gqa else self.lead
        self.query = heads_of(query, self.lead)
        self.key, self.value = heads_of(key, self.kv_lead), heads_of(value, self.kv_lead)
        self.sums = torch.float64 if query.dtype == torch.float64 else torch.float32
        batch, heads, queries, head_dim = self.query.shape
        self.sizes = (batch, heads, self.key.shape[1], queries, key.shape[-2], head_dim, value.shape[-1])
        self.dropout_p, self.is_causal, self.seed = dropout_p, is_causal, seed
        self.scale = max(head_dim, 1) ** -0.5 if scale is None else scale
        self.mask, self.mask_kind = None, NO_MASK
        if attn_mask is not None:
            boolean = attn_mask.dtype == torch.bool
            self.mask_kind = BOOLEAN_MASK if boolean else ADDITIVE_MASK
            self.mask = self.scores_view(attn_mask if boolean else attn_mask.to(self.sums))
        self.places = Places(*places)
        self.slopes = self.starts = None
        if self.places.alibi_slopes is not None:
            slopes = self.places.alibi_slopes.to(self.sums)
            self.slopes = slopes.expand(self.lead).reshape(batch, heads) if self.lead else slopes.reshape(1, 1)
        if self.places.packed:
            self.starts = (
                checked_starts("cu_seqlens_q", self.places.cu_seqlens_q, queries),
                checked_starts("cu_seqlens_k", self.places.cu_seqlens_k, key.shape[-2]),
            )

    def inputs(self, module):
        """The struct `AttentionInputs` (csrc/ops/attention/attention.h) of one of the compiled modules."""
        tensors = (self.query, self.key, self.value)
        strides = [stride for tensor in tensors for stride in tensor.stride()[:3]]
        strides += (0, 0, 0, 0) if self.mask is None else self.mask.stride()
        strides += (0, 0) if self.slopes is None else self.slopes.stride()
        before, after, offset = self.places[:3]
        after = UNBOUNDED if after is None else after
        starts = self.starts or (None, None)
        return module.AttentionInputs(
            [address(tensor) for tensor in (*tensors, self.mask, self.seed, self.slopes, *starts)],
            self.sizes,
            strides,
            self.mask_kind,
            self.is_causal,
            self.scale,
            self.dropout_p,
            DTYPE_CODES[self.query.dtype],
            torch.get_num_threads(),
            (
                offset,
                UNBOUNDED if before is None else min(before, UNBOUNDED),
                min(after, 0) if self.is_causal else min(after, UNBOUNDED),
                0 if self.starts is None else len(starts[0]) - 1,
            ),
        )

    def scores_view(self, mask: torch.Tensor) -> torch.Tensor:
        """A tensor that broadcasts to the scores, as [B, H, L, S]."""
        batch, heads, _, queries, keys, _, _ = self.sizes
        if mask.dim() > 4 or len(self.lead) > 2:
            mask = mask.expand(*self.lead, queries, keys).reshape(batch, heads, queries, keys)
        return mask.expand(batch, heads, queries, keys)

    def mask_is_direct(self, attn_mask: torch.Tensor) -> bool:
        """Whether the kernels may sum the gradient of `attn_mask` to its own shape; else to that of the scores."""
        return attn_mask.dim() <= 4 and len(self.lead) <= 2

    def grad_mask_strides(self, grad_mask: torch.Tensor) -> tuple[int, ...]:
        batch, heads, _, queries, keys, _, _ = self.sizes
        return grad_mask.expand(batch, heads, queries, keys).stride()

    def reduce_grad_mask(self, grad_mask: torch.Tensor, attn_mask: torch.Tensor) -> torch.Tensor:
        """The gradient that the kernels left, as that of `attn_mask`."""
        if not self.mask_is_direct(attn_mask):
            queries, keys = self.sizes[3:5]
            grad_mask = grad_mask.reshape(*self.lead, queries, keys).sum_to_size(attn_mask.shape)
        return grad_mask.to(attn_mask.dtype)

    @property
    def is_empty(self) -> bool:
        """Whether there is no query: nothing to compute, no gradient."""
        batch, heads, _, queries, *_ = self.sizes
        return batch * heads * queries == 0
