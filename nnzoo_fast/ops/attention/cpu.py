"""`attention` on the kernels of `csrc/ops/attention`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports

NO_MASK, BOOLEAN_MASK, ADDITIVE_MASK = range(3)


def supports(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed) -> Verdict:
    if enable_gqa and key.shape[-3] != value.shape[-3]:
        return False, f"key has {key.shape[-3]} heads and value {value.shape[-3]}"
    if dropout_p > 0 and seed is None:
        return False, "dropout without a seed"
    return cpu_supports(query, "attention_forward")


def pays(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed) -> Verdict:
    return True, "one pass over the keys, scores in cache"


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

    def __init__(self, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed):
        from nnzoo_fast.ops.attention import leading_shape

        self.lead = leading_shape(query, key, value, enable_gqa)
        self.kv_lead = (*self.lead[:-1], key.shape[-3]) if enable_gqa else self.lead
        self.query = heads_of(query, self.lead)
        self.key, self.value = heads_of(key, self.kv_lead), heads_of(value, self.kv_lead)
        self.sums = torch.float64 if query.dtype == torch.float64 else torch.float32
        batch, heads, queries, head_dim = self.query.shape
        self.sizes = (batch, heads, self.key.shape[1], queries, key.shape[-2], head_dim, value.shape[-1])
        self.mask, mask_kind = None, NO_MASK
        if attn_mask is not None:
            mask_kind = BOOLEAN_MASK if attn_mask.dtype == torch.bool else ADDITIVE_MASK
            self.mask = attn_mask if mask_kind == BOOLEAN_MASK else attn_mask.to(self.sums)
            self.mask = self.scores_view(self.mask)
        strides = [stride for tensor in (self.query, self.key, self.value) for stride in tensor.stride()[:3]]
        self.inputs = _extension._C.AttentionInputs(
            [address(tensor) for tensor in (self.query, self.key, self.value, self.mask, seed)],
            self.sizes,
            (*strides, *((0, 0, 0, 0) if self.mask is None else self.mask.stride())),
            mask_kind,
            is_causal,
            max(head_dim, 1) ** -0.5 if scale is None else scale,
            dropout_p,
            _extension.DTYPE_CODES[query.dtype],
            torch.get_num_threads(),
        )

    def scores_view(self, mask: torch.Tensor) -> torch.Tensor:
        """A tensor that broadcasts to the scores, as [B, H, L, S]."""
        batch, heads, _, queries, keys, _, _ = self.sizes
        if mask.dim() > 4 or len(self.lead) > 2:
            mask = mask.expand(*self.lead, queries, keys).reshape(batch, heads, queries, keys)
        return mask.expand(batch, heads, queries, keys)

    @property
    def is_empty(self) -> bool:
        """Whether there is no query: nothing to compute, no gradient."""
        batch, heads, _, queries, *_ = self.sizes
        return batch * heads * queries == 0


def forward(*args):
    from nnzoo_fast.ops.attention import allocate

    *args, training = args
    output, statistics = allocate(*args, training)
    if output.numel() or statistics.numel():
        layout = Layout(*args)
        _extension._C.attention_forward(layout.inputs, output.data_ptr(), statistics.data_ptr())
    return output, statistics


def backward(grads, args, outputs, needs):
    layout = Layout(*args)
    output, statistics = outputs
    needs_query, needs_key, needs_value, needs_mask = needs[:4]
    grad = grads[0].contiguous()
    upstream = (output.data_ptr(), grad.data_ptr(), statistics.data_ptr())
    make = grad.new_zeros if layout.is_empty else grad.new_empty
    found = [
        make(lead + tensor.shape[-2:]) if needed else None
        for tensor, lead, needed in zip(
            args[:3], (layout.lead, layout.kv_lead, layout.kv_lead), (needs_query, needs_key, needs_value), strict=True
        )
    ]
    if not layout.is_empty and any(needs[:3]):
        parts, workspace = make_workspace(layout, grad)
        _extension._C.attention_backward(
            layout.inputs, upstream, [address(tensor) for tensor in found], parts, address(workspace)
        )
    found = [
        None if tensor is None else tensor.sum_to_size(like.shape) for tensor, like in zip(found, args, strict=False)
    ]
    found.append(mask_gradient(layout, args[3], upstream) if needs_mask else None)
    return (*found, None)


def make_workspace(layout: Layout, grad: torch.Tensor):
    """How many tasks share the queries of a key head, and the memory for their sums, if any is needed."""
    batch, heads, kv_heads, queries, keys, head_dim, value_dim = layout.sizes
    pairs, threads = batch * kv_heads, torch.get_num_threads()
    parts = 1 if pairs >= threads else min(-(-2 * threads // pairs), heads // kv_heads * -(-queries // 16))
    if parts == 1 and grad.dtype == layout.sums:
        return 1, None
    return parts, grad.new_empty((parts, pairs, keys, head_dim + value_dim), dtype=layout.sums)


def mask_gradient(layout: Layout, attn_mask: torch.Tensor, upstream: tuple) -> torch.Tensor:
    batch, heads, _, queries, keys, _, _ = layout.sizes
    direct = attn_mask.dim() <= 4 and len(layout.lead) <= 2
    shape = attn_mask.shape if direct else (batch, heads, queries, keys)
    grad_mask = torch.zeros(shape, dtype=layout.sums)
    if not layout.is_empty:
        strides = grad_mask.expand(batch, heads, queries, keys).stride()
        _extension._C.attention_mask_backward(layout.inputs, upstream, grad_mask.data_ptr(), strides)
    if not direct:
        grad_mask = grad_mask.reshape(*layout.lead, queries, keys).sum_to_size(attn_mask.shape)
    return grad_mask.to(attn_mask.dtype)
