"""Keys and values of the tokens before, so that a new token costs one row of every matrix product."""

from __future__ import annotations

import torch
from torch import Tensor

from nnzoo_fast import ops
from nnzoo_fast.nn import functional


class LayerCache:
    """What one attention layer has read: keys and values [N, heads, length, head_dim].

    Both lie in memory for `capacity` tokens, which doubles when it is full; a token more is written, not copied.

    Args:
        capacity: number of tokens to have memory for from the start.
    """

    def __init__(self, capacity: int = 16):
        self.length = 0
        self._capacity = max(capacity, 1)
        self._memory: tuple[Tensor, Tensor] | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds keys and values [N, heads, T, head_dim] of T more tokens; returns all, which are views.

        Raises:
            RuntimeError: they want a gradient, which memory that is written again can't give.
        """
        if torch.is_grad_enabled() and (keys.requires_grad or values.requires_grad):
            raise RuntimeError("LayerCache: a cache gives no gradients; call the model under torch.no_grad()")
        before, self.length = self.length, self.length + keys.shape[2]
        if self._memory is None or self.length > self._capacity:
            self._grow(before, keys, values)
        for memory, new in zip(self._memory, (keys, values), strict=True):
            memory[:, :, before : self.length] = new
        return self.filled()

    def filled(self) -> tuple[Tensor, Tensor]:
        """Keys and values so far, [N, heads, length, head_dim] each."""
        keys, values = self._memory
        return keys[:, :, : self.length], values[:, :, : self.length]

    def select(self, rows: Tensor) -> None:
        """Keeps the sequences `rows`, int64 [M], in that order; one that is named twice is there twice."""
        if self._memory is None:
            return
        kept = []
        for filled in self.filled():
            _, heads, _, size = filled.shape
            memory = filled.new_empty(len(rows), heads, self._capacity, size)
            memory[:, :, : self.length] = filled[rows]
            kept.append(memory)
        self._memory = tuple(kept)

    def _grow(self, used: int, keys: Tensor, values: Tensor) -> None:
        while self._capacity < self.length:
            self._capacity *= 2
        grown = tuple(new.new_empty(*new.shape[:2], self._capacity, new.shape[3]) for new in (keys, values))
        for memory, old in zip(grown, self._memory or (), strict=False):
            memory[:, :, :used] = old[:, :, :used]
        self._memory = grown


class KeyValueCache:
    """A `LayerCache` for each of a decoder's layers, in their order.

    Args:
        layers: number of layers.
        capacity: number of tokens to have memory for from the start.
    """

    def __init__(self, layers: int, capacity: int = 16):
        self.layers = [LayerCache(capacity) for _ in range(layers)]

    @property
    def length(self) -> int:
        """Number of tokens that every layer has read."""
        return self.layers[-1].length

    def select(self, rows: Tensor) -> None:
        """Keeps the sequences `rows` of every layer, as `LayerCache.select`."""
        for layer in self.layers:
            layer.select(rows)


def heads_of(x: Tensor, heads: int) -> Tensor:
    """[N, T, heads * head_dim] -> [N, heads, T, head_dim]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def self_attention(layer: torch.nn.MultiheadAttention, x: Tensor, cache: LayerCache, visible: Tensor | None) -> Tensor:
    """What `layer` makes of tokens x [N, T, E] that look at those in `cache` and at each other, but not ahead.

    Args:
        layer: of E features for queries, keys and values; neither dropout nor `add_bias_kv`.
        cache: of this layer; the tokens are added to it.
        visible: bool [N, 1, 1, length + T], False where a token is padding; None: none is.

    Returns:
        [N, T, E].
    """
    before = cache.length
    q, k, v = functional.linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, dim=-1)
    keys, values = cache.append(heads_of(k, layer.num_heads), heads_of(v, layer.num_heads))
    # The one query of a step stands last and sees all keys: no rule of places is needed.
    places = {} if x.shape[1] == 1 else {"window": (None, 0), "query_offset": before}
    return _joined(layer, ops.attention(heads_of(q, layer.num_heads), keys, values, visible, **places))


def memory_of(layer: torch.nn.MultiheadAttention, memory: Tensor) -> tuple[Tensor, Tensor]:
    """The keys and values [N, heads, S, head_dim] that `layer` makes of an encoder's result [N, S, E]."""
    size = layer.embed_dim
    bias = None if layer.in_proj_bias is None else layer.in_proj_bias[size:]
    keys, values = functional.linear(memory, layer.in_proj_weight[size:], bias).chunk(2, dim=-1)
    return heads_of(keys, layer.num_heads), heads_of(values, layer.num_heads)


def cross_attention(
    layer: torch.nn.MultiheadAttention, x: Tensor, memory: tuple[Tensor, Tensor], visible: Tensor | None
) -> Tensor:
    """What `layer` makes of tokens x [N, T, E] that look at `memory`, of `memory_of`; `visible` as above, of S keys."""
    size = layer.embed_dim
    bias = None if layer.in_proj_bias is None else layer.in_proj_bias[:size]
    q = functional.linear(x, layer.in_proj_weight[:size], bias)
    return _joined(layer, ops.attention(heads_of(q, layer.num_heads), *memory, visible))


def _joined(layer: torch.nn.MultiheadAttention, heads: Tensor) -> Tensor:
    return functional.linear(heads.transpose(1, 2).flatten(2), layer.out_proj.weight, layer.out_proj.bias)
