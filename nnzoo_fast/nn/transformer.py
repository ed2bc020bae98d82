"""`Transformer` and its parts: torch's own arithmetic on our layers.

Linear and activation are one kernel, and so are the dropout behind a block, the sum with what went into it and the norm
that follows. In training that dropout's mask is `ops.add_norm`'s.
"""

import functools
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.compiler import is_compiling

from nnzoo_fast import ops
from nnzoo_fast._compat import canonical_mask, dtype_or_none
from nnzoo_fast.backends import STOCK_BACKEND, requested
from nnzoo_fast.declined import DeclinedCalls
from nnzoo_fast.front_door import is_traceable
from nnzoo_fast.nn.activated import activated, activation_name, unobserved
from nnzoo_fast.nn.drop_in import DROP_INS, drop_in, exchange
from nnzoo_fast.nn.linear import Linear
from nnzoo_fast.nn.norm import LayerNorm
from nnzoo_fast.ops.linear import operation as linear

LITTLE_WORK = DeclinedCalls()
"""Calls of an encoder layer that torch's fused kernel keeps: finding out takes 10 us, remembering 2."""


def hint(is_causal: bool | None) -> bool | None:
    """`is_causal`, but no hint under a tracer: torch would look at the mask's values to find one."""
    return False if is_causal is None and is_compiling() else is_causal


def _on_our_layers(members: Iterable[torch.nn.Module]) -> None:
    """Gives the layers that torch's constructor made, and theirs, our classes. What the caller handed in stays."""
    for member in members:
        for module in member.modules():
            exchange(module, DROP_INS)


@drop_in(torch.nn.TransformerEncoderLayer)
class TransformerEncoderLayer(torch.nn.TransformerEncoderLayer):
    """`torch.nn.TransformerEncoderLayer`: [S, N, d_model] (batch first, unbatched) -> the same.

    In eval mode without gradients torch has a fused kernel for the whole layer. It keeps the calls whose products are
    too small for our kernels to win, and nested tensors. Elsewhere a query that sees no key gets attention 0, as in
    `MultiheadAttention`.
    """

    @functools.wraps(torch.nn.TransformerEncoderLayer.__init__)
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _on_our_layers(child for name, child in self.named_children() if name != "activation")

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        if is_traceable(src):
            if src.is_nested or self._is_little_work(src):
                return super().forward(src, src_mask, src_key_padding_mask, is_causal)
            src_mask, src_key_padding_mask = additive_masks(src, src_mask, src_key_padding_mask)
        masks = src_mask, src_key_padding_mask, is_causal
        if type(self) is not TransformerEncoderLayer:  # the blocks may be another's
            if self.norm_first:
                src = src + self._sa_block(self.norm1(src), *masks)
                return src + self._ff_block(self.norm2(src))
            src = self.norm1(src + self._sa_block(src, *masks))
            return self.norm2(src + self._ff_block(src))
        if self.norm_first:
            normed, src = add_norm(
                attended(self.self_attn, self.norm1(src), None, *masks), src, self.dropout1, self.norm2
            )
            return src + self.dropout2(self._fed_forward(normed))
        src, _ = add_norm(attended(self.self_attn, src, None, *masks), src, self.dropout1, self.norm1)
        return add_norm(self._fed_forward(src), src, self.dropout2, self.norm2)[0]

    def _is_little_work(self, src: Tensor) -> bool:
        """Whether torch's fused kernel may run, and the feed-forward product would run on stock torch anyhow."""
        if self.training or torch.is_grad_enabled() or is_compiling():
            return False
        first = self.linear1
        if type(first) is not Linear:
            return False
        name = requested(linear.name)
        if name is not None:
            return name == STOCK_BACKEND
        call = (src, first.weight, first.bias, self.activation)
        if call in LITTLE_WORK:
            return True
        little = linear.choose((*call[:3], activation_name(self.activation) or "none", None)) is None
        if little:
            LITTLE_WORK.add(call)
        return little

    def _ff_block(self, x: Tensor) -> Tensor:
        return self.dropout2(self._fed_forward(x))

    def _fed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(activated(self.linear1, self.activation, x)))


def attended(attention: torch.nn.Module, x: Tensor, memory: Tensor | None, mask, padding, is_causal: bool) -> Tensor:
    """What `attention` makes of queries `x` over `memory`, or over themselves."""
    memory = x if memory is None else memory
    options = {"attn_mask": mask, "key_padding_mask": padding, "is_causal": is_causal}
    return attention(x, memory, memory, need_weights=False, **options)[0]


def add_norm(input: Tensor, residual: Tensor, dropout: torch.nn.Module, norm: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """norm(sum) and sum = residual + dropout(input), as one operation where nobody could tell that it is."""
    known = type(dropout) in (torch.nn.Dropout, DROP_INS.get(torch.nn.Dropout)) and type(norm) is LayerNorm
    plain = known and unobserved(dropout) and unobserved(norm)
    if plain and is_traceable(input) and input.shape == residual.shape and input.dtype == residual.dtype:
        p = dropout.p if dropout.training else 0.0
        return ops.add_norm(input, residual, norm.normalized_shape, norm.weight, norm.bias, norm.eps, p)
    sum = residual + dropout(input)
    return norm(sum), sum


def additive_masks(src: Tensor, mask: Tensor | None, padding: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Both masks as what is added to the scores, in `src`'s dtype; torch's warnings and errors where they disagree."""
    padding = canonical_mask(padding, "src_key_padding_mask", dtype_or_none(mask), "src_mask", src.dtype)
    return canonical_mask(mask, "src_mask", None, "", src.dtype, check_other=False), padding


@drop_in(torch.nn.TransformerDecoderLayer)
class TransformerDecoderLayer(torch.nn.TransformerDecoderLayer):
    """`torch.nn.TransformerDecoderLayer`: tgt [T, N, d_model], memory [S, N, d_model] -> as tgt."""

    @functools.wraps(torch.nn.TransformerDecoderLayer.__init__)
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _on_our_layers(child for name, child in self.named_children() if name != "activation")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        own = tgt_mask, tgt_key_padding_mask, tgt_is_causal
        others = memory, memory_mask, memory_key_padding_mask, memory_is_causal
        if type(self) is not TransformerDecoderLayer:  # the blocks may be another's
            options = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
            return super().forward(tgt, memory, *options, tgt_is_causal, memory_is_causal)
        if self.norm_first:
            x, tgt = add_norm(attended(self.self_attn, self.norm1(tgt), None, *own), tgt, self.dropout1, self.norm2)
            x, tgt = add_norm(attended(self.multihead_attn, x, *others), tgt, self.dropout2, self.norm3)
            return tgt + self.dropout3(self._fed_forward(x))
        tgt, _ = add_norm(attended(self.self_attn, tgt, None, *own), tgt, self.dropout1, self.norm1)
        tgt, _ = add_norm(attended(self.multihead_attn, tgt, *others), tgt, self.dropout2, self.norm2)
        return add_norm(self._fed_forward(tgt), tgt, self.dropout3, self.norm3)[0]

    def _ff_block(self, x: Tensor) -> Tensor:
        return self.dropout3(self._fed_forward(x))

    def _fed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(activated(self.linear1, self.activation, x)))


@drop_in(torch.nn.TransformerEncoder)
class TransformerEncoder(torch.nn.TransformerEncoder):
    """`torch.nn.TransformerEncoder`; its layers are copies of the given one, on our classes.

    Where torch would turn a padded batch into a nested tensor (eval mode, no gradients, `src_key_padding_mask` alone),
    this does so too: the layers then are torch's fused kernel, and padded places of the result are 0.
    """

    @functools.wraps(torch.nn.TransformerEncoder.__init__)
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _on_our_layers(self.layers)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        if is_traceable(src):
            return super().forward(src, mask, src_key_padding_mask, hint(is_causal))
        for layer in self.layers:  # an fx proxy: torch's own forward asks for its sizes, and for the hint's truth
            src = layer(src, mask, src_key_padding_mask, is_causal is True)
        return src if self.norm is None else self.norm(src)


@drop_in(torch.nn.TransformerDecoder)
class TransformerDecoder(torch.nn.TransformerDecoder):
    """`torch.nn.TransformerDecoder`; its layers are copies of the given one, on our classes."""

    @functools.wraps(torch.nn.TransformerDecoder.__init__)
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _on_our_layers(self.layers)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        if is_traceable(tgt):
            return super().forward(tgt, memory, *masks, hint(tgt_is_causal), memory_is_causal)
        for layer in self.layers:  # an fx proxy, as above
            tgt = layer(tgt, memory, *masks, tgt_is_causal is True, memory_is_causal is True)
        return tgt if self.norm is None else self.norm(tgt)


@drop_in(torch.nn.Transformer)
class Transformer(torch.nn.Transformer):
    """`torch.nn.Transformer`; a `custom_encoder` or `custom_decoder` stays what it is."""

    @functools.wraps(torch.nn.Transformer.__init__)
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        given = [*args, *kwargs.values()]
        made = [part for part in (self.encoder, self.decoder) if all(part is not value for value in given)]
        _on_our_layers(made)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        causal = (tgt_is_causal, memory_is_causal)
        if is_traceable(src):
            encoder = (src_key_padding_mask, *masks[2:], src_is_causal)
            return super().forward(src, tgt, src_mask, *masks[:2], *encoder, *causal)
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(tgt, memory, *masks, *causal)
