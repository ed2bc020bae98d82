"""`attention` on the kernels of `csrc/ops/attention`."""

import math

import torch

from nnzoo_fast import _extension, tables
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.attention.layout import Layout, allocate, kernels_support
from nnzoo_fast.ops.attention.places import Places

LITTLE_WORK = 1 << 18
"""Multiply-adds of about 5 us on one core, less than the Python in front of our kernel costs over stock torch's."""


def supports(*args) -> Verdict:
    able, reason = kernels_support(*args)
    return cpu_supports(args[0], "attention_forward") if able else (able, reason)


FEW_QUERIES = 8
"""Up to so many queries, what takes time is reading the keys."""


def kind_of(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed, *places) -> tuple[str, int]:
    """The kind of call that a table tells apart, and its multiply-adds, hidden keys included."""
    queries, head_dim = query.shape[-2:]
    sight = "causal" if is_causal else "full" if attn_mask is None else "masked"
    if queries <= FEW_QUERIES:
        sight = f"{'one query' if queries == 1 else 'few queries'} {sight}"
    kind = f"{tables.DTYPE_NAMES[query.dtype]} {sight} {tables.way(query, key, value, attn_mask)}"
    return kind, math.prod(query.shape[:-2]) * queries * key.shape[-2] * (head_dim + value.shape[-1])


def pays(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed, *places) -> Verdict:
    if dropout_p > 0:
        return True, "dropout from counters, in the same pass"
    if Places(*places).matter:
        return True, "hidden keys are not visited; stock torch has a mask for every pair"
    kind, work = kind_of(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed, *places)
    if work < LITTLE_WORK:
        rule = False, f"{work} multiply-adds take less time than the call itself"
    else:
        rule = True, "one pass over the keys, scores in cache"
    return tables.pays("attention", kind, work, rule)


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
    grad_mask = make_grad_mask(layout, args[3]) if needs_mask else None
    if not layout.is_empty:
        strides = layout.grad_mask_strides(grad_mask) if needs_mask else (0, 0, 0, 0)
        one_pass = needs_mask and any(needs[:3]) and owned_by_tasks(layout, strides)
        if any(needs[:3]):
            parts, workspace = make_workspace(layout, grad, split=not one_pass)
            gradients = [address(tensor) for tensor in found]
            with_mask = (grad_mask.data_ptr(), strides) if one_pass else (0, (0, 0, 0, 0))
            _extension._C.attention_backward(inputs, upstream, gradients, parts, address(workspace), *with_mask)
        if needs_mask and not one_pass:
            _extension._C.attention_mask_backward(inputs, upstream, grad_mask.data_ptr(), strides)
    found = [
        None if tensor is None else tensor.sum_to_size(like.shape) for tensor, like in zip(found, args, strict=False)
    ]
    found.append(layout.reduce_grad_mask(grad_mask, args[3]) if needs_mask else None)
    return (*found, *[None] * (len(needs) - 4))


def owned_by_tasks(layout: Layout, strides: tuple[int, ...]) -> bool:
    """Whether tasks that each own a part of the mask's gradient leave no thread waiting for long."""
    batch, _, kv_heads, *_ = layout.sizes
    tasks, threads = (batch if strides[0] else 1) * (kv_heads if strides[1] else 1), torch.get_num_threads()
    rounds = -(-tasks // threads)
    return layout.scale != 0 and 4 * rounds * threads <= 5 * tasks


def make_workspace(layout: Layout, grad: torch.Tensor, split: bool):
    """How many tasks share the queries of a key head, and the memory for their sums, if any is needed."""
    batch, heads, kv_heads, queries, keys, head_dim, value_dim = layout.sizes
    pairs, threads = batch * kv_heads, torch.get_num_threads()
    parts = 1 if pairs >= threads or not split else min(-(-2 * threads // pairs), heads // kv_heads * -(-queries // 16))
    if parts == 1 and grad.dtype == layout.sums:
        return 1, None
    return parts, grad.new_empty((parts, pairs, keys, head_dim + value_dim), dtype=layout.sums)


def make_grad_mask(layout: Layout, attn_mask: torch.Tensor) -> torch.Tensor:
    batch, heads, _, queries, keys, _, _ = layout.sizes
    shape = attn_mask.shape if layout.mask_is_direct(attn_mask) else (batch, heads, queries, keys)
    return torch.zeros(shape, dtype=layout.sums)
