"""Models of transformers on our kernels.

    nnzoo_fast.huggingface.accelerate(model)

`foreign.py` knows their layers. Our attention stands in transformers' registry as soon as `nnzoo_fast` and transformers
are imported, in either order, also for `model.set_attn_implementation("nnzoo_fast")`.
"""

from __future__ import annotations

import importlib
from typing import TypeVar

import torch
from torch import Tensor

from nnzoo_fast import ops
from nnzoo_fast.accelerate import accelerate as accelerated
from nnzoo_fast.accelerate import restore as restored
from nnzoo_fast.when_imported import when_imported

NAME = "nnzoo_fast"
"""What our attention is called in transformers' registries."""

LACKED = ("attn_logit_softcapping", "sinks")
"""Attributes of the layers of transformers that ask attention for what ours doesn't have."""


M = TypeVar("M", bound=torch.nn.Module)


def accelerate(model: M) -> M:
    """`nnzoo_fast.accelerate`, and our attention in every part of the model that asks for one by name.

    `set_attn_implementation` alone leaves out the encoder and decoder of models such as T5, which have configurations
    of their own. Parts with bounded scores or attention sinks, as of Gemma 2 and GPT-OSS, keep the attention they have.
    Attention weights (`output_attentions=True`) are never written.

    Args:
        model: a model of transformers, or a module that has some.

    Returns:
        `model`.

    Raises:
        TypeError: `model` is not a module.
    """
    accelerated(model)
    for part in _parts(model):
        before = part.config._attn_implementation
        if before != NAME and not _asks_for_more(part):
            part.set_attn_implementation(NAME)
            if part.config._attn_implementation == NAME:
                vars(part)["_attention_before"] = before
    return model


def restore(model: M) -> M:
    """The inverse of `accelerate`."""
    restored(model)
    for part in _parts(model):
        before = vars(part).pop("_attention_before", None)
        if before is not None:
            part.set_attn_implementation(before)
    return model


def _parts(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Innermost first: an outer model tells some of its parts what to do."""
    return [module for module in model.modules() if hasattr(module, "set_attn_implementation")][::-1]


def _asks_for_more(part: torch.nn.Module) -> bool:
    return any(getattr(module, name, None) is not None for module in part.modules() for name in LACKED)


def attention_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_,
) -> tuple[Tensor, None]:
    """`ops.attention` as transformers calls an attention function.

    Args:
        module: the layer that asks; its `is_causal`, by default true, counts if the argument is None.
        query: [B, H, L, E].
        key: [B, G, S, E], where H is a multiple of G.
        value: [B, G, S, Ev].
        attention_mask: what transformers makes for "sdpa": bool or added, broadcastable to [B, H, L, S], or None.
        dropout: probability of dropping an attention weight.
        scaling: factor of the scores, by default 1 / sqrt(E).
        is_causal: without a mask and with more than one query, a query sees the keys up to its own.
        position_bias: added to the scores, broadcastable to [B, H, L, S].
        softcap, s_aux: bounds of the scores and attention sinks, which ours doesn't have.

    Returns:
        [B, L, H, Ev], and None for the weights, which are never written.

    Raises:
        NotImplementedError: `softcap` or `s_aux` is given, as by Gemma 2 and GPT-OSS.
    """
    for name, asked in (("softcap", softcap), ("s_aux", s_aux)):
        if asked is not None:
            raise NotImplementedError(
                f"nnzoo_fast's attention has no {name}, which {type(module).__name__} asks for; set another one"
            )
    is_causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    is_causal = is_causal and attention_mask is None and query.shape[2] > 1
    if position_bias is not None:
        attention_mask, is_causal = _with_bias(query, key, attention_mask, is_causal, position_bias), False
    grouped = query.shape[1] != key.shape[1]
    output = ops.attention(query, key, value, attention_mask, dropout, is_causal, scaling, grouped)
    return output.transpose(1, 2).contiguous(), None


def _with_bias(query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool, bias: Tensor) -> Tensor:
    """A mask to add: `bias` where a query may look, -inf elsewhere."""
    if is_causal:
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
    if mask is None:
        return bias.to(query.dtype)
    if mask.dtype == torch.bool:
        return bias.to(query.dtype).masked_fill(~mask, -torch.inf)
    return bias.to(query.dtype) + mask


def _register_attention() -> None:
    masking = importlib.import_module("transformers.masking_utils")
    modeling = importlib.import_module("transformers.modeling_utils")
    modeling.AttentionInterface.register(NAME, attention_forward)
    masking.AttentionMaskInterface.register(NAME, masking.sdpa_mask)


when_imported("transformers.modeling_utils", _register_attention)
