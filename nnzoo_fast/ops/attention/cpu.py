"""`attention` on the kernels of `csrc/ops/attention`."""

import math

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.attention.layout import Layout, allocate, kernels_support
from nnzoo_fast.ops.attention.places import Places

FEW_QUERIES = 3
"""Below, each key and value is read once in any case, and stock torch's dot products need no tile of queries."""

LITTLE_WORK = 1 << 18
"""Multiply-adds of about 5 us on one core, less than the Python in front of our kernel costs over stock torch's."""


def supports(*args) -> Verdict:
    able, reason = kernels_support(*args)
    return cpu_supports(args[0], "attention_forward") if able else (able, reason)


def pays(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed, *places) -> Verdict:
    if dropout_p > 0:
        return True, "dropout from counters, in the same pass"
    if Places(*places).matter:
        return True, "hidden keys are not visited; stock torch has a mask for every pair"
    queries, head_dim = query.shape[-2:]
    if queries < FEW_QUERIES:
        return False, f"fewer than {FEW_QUERIES} queries leave most vector lanes empty"
    work = math.prod(query.shape[:-2]) * queries * key.shape[-2] * (head_dim + value.shape[-1])
    if work < LITTLE_WORK:
        return False, f"{work} multiply-adds take less time than the call itself"
    return True, "one pass over the keys, scores in cache"


def forward(*args):
    *args, training = args
    output, statistics = allocate(*args, training)
    if output.numel() or statistics.numel():
        layout = Layout(*args)  # keeps its copies alive while the kernel reads them
        _extension._C.attention_forward(layout.inputs(_extension._C), output.data_ptr(), statistics.data_ptr())
    return output, statistics


def backward(grads, args, outputs, needs):
    layout = Layout(*args)
    inputs = layout.inputs(_extension._C)
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
            inputs, upstream, [address(tensor) for tensor in found], parts, address(workspace)
        )
    found = [
        None if tensor is None else tensor.sum_to_size(like.shape) for tensor, like in zip(found, args, strict=False)
    ]
    found.append(mask_gradient(layout, args[3], inputs, upstream) if needs_mask else None)
    return (*found, *[None] * (len(needs) - 4))


def make_workspace(layout: Layout, grad: torch.Tensor):
    """How many tasks share the queries of a key head, and the memory for their sums, if any is needed."""
    batch, heads, kv_heads, queries, keys, head_dim, value_dim = layout.sizes
    pairs, threads = batch * kv_heads, torch.get_num_threads()
    parts = 1 if pairs >= threads else min(-(-2 * threads // pairs), heads // kv_heads * -(-queries // 16))
    if parts == 1 and grad.dtype == layout.sums:
        return 1, None
    return parts, grad.new_empty((parts, pairs, keys, head_dim + value_dim), dtype=layout.sums)


def mask_gradient(layout: Layout, attn_mask: torch.Tensor, inputs, upstream: tuple) -> torch.Tensor:
    batch, heads, _, queries, keys, _, _ = layout.sizes
    direct = attn_mask.dim() <= 4 and len(layout.lead) <= 2
    shape = attn_mask.shape if direct else (batch, heads, queries, keys)
    grad_mask = torch.zeros(shape, dtype=layout.sums)
    if not layout.is_empty:
        strides = grad_mask.expand(batch, heads, queries, keys).stride()
        _extension._C.attention_mask_backward(inputs, upstream, grad_mask.data_ptr(), strides)
    if not direct:
        grad_mask = grad_mask.reshape(*layout.lead, queries, keys).sum_to_size(attn_mask.shape)
    return grad_mask.to(attn_mask.dtype)
