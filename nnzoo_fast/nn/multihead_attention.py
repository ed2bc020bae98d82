"""`MultiheadAttention`, on `ops.linear` and `ops.attention`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nnzoo_fast import ops
from nnzoo_fast.front_door import is_traceable
from nnzoo_fast.nn.drop_in import drop_in


def attention_with_weights(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float):
    """softmax(q @ k^T / sqrt(head_dim) + mask) @ v and the softmax, after dropout."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        scores = scores + mask
    weights = F.dropout(scores.softmax(-1), dropout)
    return weights @ v, weights


@drop_in(torch.nn.MultiheadAttention)
class MultiheadAttention(torch.nn.MultiheadAttention):
    """`torch.nn.MultiheadAttention`: arguments, `state_dict` and results are its own.

    With `need_weights=False` nothing of size L x S is made, and a query that sees no key gets 0. With
    `need_weights=True`, torch's default, the weights are a result, and NaN for such a query, as in torch.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See `torch.nn.MultiheadAttention.forward`.

        Args:
            query: [L, N, embed_dim], [N, L, embed_dim] with `batch_first`, or [L, embed_dim].
            key: [S, N, kdim], [N, S, kdim] with `batch_first`, or [S, kdim].
            value: as `key`, with vdim.
            key_padding_mask: [N, S] or [S]; True hides a key, a float is added to its scores.
            need_weights: return the weights too.
            attn_mask: [L, S] or [N * num_heads, L, S]; True hides a key from a query, a float is added to the score.
            average_attn_weights: average the returned weights over the heads.
            is_causal: a hint that `attn_mask` is the causal mask.

        Returns:
            The output, shaped as `query`, and the weights [N, L, S] or [N, num_heads, L, S], or None.
        """
        if not is_traceable(query):
            return self._record(
                query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
            )
        if not self._understands(query, key, value, key_padding_mask, attn_mask, is_causal):
            # For torch's own exceptions, and nested tensors.
            return super().forward(
                query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
            )
        q, k, v = self._project(query, key, value)
        if query.dim() == 2:
            q, k, v = (tensor.unsqueeze(0) for tensor in (q, k, v))
        elif not self.batch_first:
            q, k, v = (tensor.transpose(0, 1) for tensor in (q, k, v))
        if is_causal and key_padding_mask is None and not need_weights:
            attn_mask = None
        else:
            is_causal = False
        k, v, key_padding_mask, attn_mask = self._append_keys(k, v, key_padding_mask, attn_mask)
        mask = self._merge_masks(q, key_padding_mask, attn_mask)
        q, k, v = (tensor.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for tensor in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            heads, weights = attention_with_weights(q, k, v, mask, dropout)
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights.squeeze(0) if query.dim() == 2 else weights
        else:
            heads = ops.attention(q, k, v, mask, dropout, is_causal)
        heads = heads.transpose(1, 2) if self.batch_first or query.dim() == 2 else heads.permute(2, 0, 1, 3)
        output = ops.linear(heads.flatten(-2), self.out_proj.weight, self.out_proj.bias)
        return output.squeeze(0) if query.dim() == 2 else output, weights

    def _understands(self, query, key, value, key_padding_mask, attn_mask, is_causal) -> bool:
        tensors = (query, key, value)
        if any(t.is_nested or t.dim() != query.dim() for t in tensors) or query.dim() not in (2, 3):
            return False
        sizes = (self.embed_dim, self.kdim, self.vdim)
        if (
            any(t.shape[-1] != size for t, size in zip(tensors, sizes, strict=True))
            or key.shape[:-1] != value.shape[:-1]
        ):
            return False
        along = 0 if query.dim() == 2 or not self.batch_first else 1
        batch = query.shape[1 - along] if query.dim() == 3 else 1
        if query.dim() == 3 and key.shape[1 - along] != batch:
            return False
        scores = (query.shape[along], key.shape[along])
        if attn_mask is not None:
            fits = attn_mask.shape in (scores, (batch * self.num_heads, *scores))
            if not fits or not (attn_mask.dtype == torch.bool or attn_mask.is_floating_point()):
                return False
        elif is_causal:
            return False
        if key_padding_mask is not None:
            fits = key_padding_mask.shape == ((batch, scores[1]) if query.dim() == 3 else (scores[1],))
            if not fits or not (key_padding_mask.dtype == torch.bool or key_padding_mask.is_floating_point()):
                return False
        return True

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size, bias = self.embed_dim, self.in_proj_bias
        if not self._qkv_same_embed_dim:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        elif query is key and key is value:
            return ops.linear(query, self.in_proj_weight, bias).unflatten(-1, (3, size)).unbind(-2)
        else:
            weights = self.in_proj_weight.chunk(3)
        biases = (None, None, None) if bias is None else bias.chunk(3)
        return tuple(ops.linear(*args) for args in zip((query, key, value), weights, biases, strict=True))

    def _append_keys(self, k: Tensor, v: Tensor, key_padding_mask: Tensor | None, attn_mask: Tensor | None):
        """k, v [N, S, embed_dim] and the masks with the keys that `add_bias_kv` and `add_zero_attn` add."""
        added = 0
        if self.bias_k is not None:
            k, v = (torch.cat([t, row.expand(len(t), 1, -1)], 1) for t, row in ((k, self.bias_k), (v, self.bias_v)))
            added += 1
        if self.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
            added += 1
        if added:
            key_padding_mask, attn_mask = (
                None if mask is None else F.pad(mask, (0, added)) for mask in (key_padding_mask, attn_mask)
            )
        return k, v, key_padding_mask, attn_mask

    def _merge_masks(self, q: Tensor, key_padding_mask: Tensor | None, attn_mask: Tensor | None) -> Tensor | None:
        """Both masks as the one of `ops.attention`, where True lets a query see a key."""
        masks = []
        if attn_mask is not None:
            masks.append(attn_mask if attn_mask.dim() == 2 else attn_mask.unflatten(0, (len(q), self.num_heads)))
        if key_padding_mask is not None:
            masks.append(key_padding_mask.reshape(len(q), 1, 1, -1))
        if not masks:
            return None
        if all(mask.dtype == torch.bool for mask in masks):
            return ~(masks[0] | masks[-1])
        masks = [
            torch.zeros_like(mask, dtype=q.dtype).masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else mask
            for mask in masks
        ]
        return sum(masks[1:], masks[0]).to(q.dtype)

    def _record(
        self, query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
    ) -> tuple[Tensor, Tensor | None]:
        """The call as one node of torch.fx, whose proxies have no shapes to look at; batched input only."""
        if self.batch_first:
            query, key, value = (tensor.transpose(0, 1) for tensor in (query, key, value))
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return output.transpose(0, 1) if self.batch_first else output, weights
