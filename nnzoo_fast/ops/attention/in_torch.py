"""`attention` on PyTorch's own operators."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.compiler import is_compiling

from nnzoo_fast import _compat
from nnzoo_fast.front_door import is_traceable
from nnzoo_fast.operation import attach
from nnzoo_fast.ops.attention.places import Places, as_mask
from nnzoo_fast.ops.attention.reference import reference

WITHOUT_SECOND_DERIVATIVE = "ScaledDotProductFlashAttentionForCpuBackward0"
"""The node that torch's fused kernel leaves in a graph."""


def stock(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False, seed=None, *places
):
    settings = dropout_p, is_causal, scale, enable_gqa, seed, *places
    # torch's dropout doesn't know the counters' mask, and its fused kernels have only a first derivative, backward.
    if seed is not None or (dropout_p == 0 and _wants_more_than_gradients(query, key, value)):
        return reference(query, key, value, attn_mask, *settings)
    if Places(*places).matter:
        attn_mask, is_causal = as_mask(query, key, attn_mask, is_causal, Places(*places)), False
    if is_traceable(attn_mask) and attn_mask.dtype == torch.float32 and query.dtype == torch.float64:
        attn_mask = attn_mask.double()  # torch 2.13's fused kernel reads the mask's memory as float64
    output = F.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )
    plain = output.requires_grad and not is_compiling() and not _compat.functorch_transforms_active()
    if plain and output.grad_fn.name() == WITHOUT_SECOND_DERIVATIVE:
        rest = attn_mask, dropout_p, is_causal, scale, enable_gqa, None
        output.grad_fn.register_hook(_differentiable_gradients((query, key, value), rest))
    return output


def _wants_more_than_gradients(*tensors) -> bool:
    if not _compat.transformed():
        return False
    return _compat.forward_mode_active() or any(_compat.gradient_levels(tensor) > 1 for tensor in tensors)


def _differentiable_gradients(inputs: tuple, rest: tuple):
    """A hook: when gradients are to be differentiated again, those of the reference take the place of the node's."""

    def hook(grad_inputs, grad_outputs):
        if not torch.is_grad_enabled():
            return None
        needs = [grad is not None for grad in grad_inputs]
        attached = [attach(tensor, needed) for tensor, needed in zip(inputs, needs, strict=True)]
        wanted = [tensor for tensor, needed in zip(attached, needs, strict=True) if needed]
        output = reference(*attached, *rest)
        found = iter(torch.autograd.grad(output, wanted, grad_outputs[0], create_graph=True))
        return tuple(next(found) if needed else None for needed in needs)

    return hook
