"""The Transformer: an encoder reads a text, a decoder writes another that looks back at it."""

from __future__ import annotations

import functools

import torch

from nnzoo_fast import nn
from nnzoo_fast.models.arguments import checked_count
from nnzoo_fast.models.cache import KeyValueCache, LayerCache, cross_attention, memory_of, self_attention
from nnzoo_fast.models.generation import Continuation, check_ids, write
from nnzoo_fast.nn.activated import activated


class Sinusoids(nn.Module):
    """A fixed vector for each place: sin(place / 10000 ** (2 i / d_model)) at 2 i, and the cosine at 2 i + 1.

    Args:
        length: number of places.
        d_model: size of a vector, even.
    """

    def __init__(self, length: int, d_model: int):
        super().__init__()
        places = torch.arange(length, dtype=torch.float64)[:, None]
        angles = places * 10000.0 ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        self.register_buffer("table", table.to(torch.get_default_dtype()), persistent=False)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        return self.table[places]


class Transformer(nn.Module):
    """Encoder and decoder, by default the base model of Vaswani et al., "Attention is all you need" (2017).

    `core` is `nn.Transformer`, with torch's keys, and with torch's norm behind the last layer of encoder and decoder,
    which the paper has not. Around it are the paper's parts: vectors of tokens, times sqrt(d_model), plus vectors of
    places, and logits. Biases of `core` start as in torch, matrices by Xavier's rule, vectors with deviation
    d_model ** -0.5.

    Args:
        source_vocabulary: number of tokens of what is read.
        target_vocabulary: number of tokens of what is written; by default as many.
        d_model: size of a token's vector, even.
        nhead: attention heads of a layer, a divisor of `d_model`.
        num_encoder_layers, num_decoder_layers: numbers of layers.
        dim_feedforward: size of the hidden layer behind attention.
        dropout: probability of dropping an embedding, an attention weight, or a value that a layer adds.
        activation: "relu" or "gelu".
        norm_first: norms stand before attention and linear layers (pre-norm) instead of behind the sums (post-norm).
        positions: "sinusoidal", or "learned" for an embedding each of source and target.
        max_length: the longest text.
        share_embeddings: one matrix for the vectors of source and target and, transposed, for the logits.
    """

    def __init__(
        self,
        source_vocabulary: int = 37000,
        target_vocabulary: int | None = None,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        norm_first: bool = False,
        positions: str = "sinusoidal",
        max_length: int = 1024,
        share_embeddings: bool = True,
    ):
        super().__init__()
        target_vocabulary = source_vocabulary if target_vocabulary is None else target_vocabulary
        if share_embeddings and source_vocabulary != target_vocabulary:
            raise ValueError(
                f"Transformer: share_embeddings needs one vocabulary, got {source_vocabulary} and {target_vocabulary}"
            )
        if positions not in ("sinusoidal", "learned"):
            raise ValueError(f'Transformer: positions must be "sinusoidal" or "learned", got {positions!r}')
        if d_model % nhead or d_model % 2:
            raise ValueError(f"Transformer: d_model {d_model} must be even and a multiple of nhead {nhead}")
        self.max_length, self.scale = max_length, d_model**0.5
        self.source_embedding = nn.Embedding(source_vocabulary, d_model)
        self.target_embedding = self.source_embedding if share_embeddings else nn.Embedding(target_vocabulary, d_model)
        if positions == "sinusoidal":
            self.source_positions = self.target_positions = Sinusoids(max_length, d_model)
        else:
            self.source_positions, self.target_positions = (nn.Embedding(max_length, d_model) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        sizes = {"d_model": d_model, "nhead": nhead, "dim_feedforward": dim_feedforward, "dropout": dropout}
        layer = {**sizes, "activation": activation, "norm_first": norm_first, "batch_first": True}
        encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**layer), num_encoder_layers, nn.LayerNorm(d_model), enable_nested_tensor=False
        )
        decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**layer), num_decoder_layers, nn.LayerNorm(d_model))
        self.core = nn.Transformer(d_model, nhead, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)
        self.head = nn.Linear(d_model, target_vocabulary, bias=not share_embeddings)
        if share_embeddings:
            self.head.weight = self.target_embedding.weight
        for module in self.children():
            if isinstance(module, torch.nn.Embedding):
                nn.init.normal_(module.weight, std=d_model**-0.5)

    def forward(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        source_mask: torch.Tensor | None = None,
        target_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict each next token of a known target.

        Args:
            source: int64 [N, S].
            target: int64 [N, T], which begins with a start token.
            source_mask, target_mask: [N, S] and [N, T], 0 or False where there is padding, behind the text; by default
                nowhere.

        Returns:
            Logits [N, T, target_vocabulary]; those of padding mean nothing.
        """
        length, visible = target.shape[1], self._padding("source", source, source_mask)
        causal = nn.Transformer.generate_square_subsequent_mask(length, device=target.device, dtype=self._dtype)
        x = self.core(
            self._embed("source", source),
            self._embed("target", target),
            tgt_mask=causal,
            src_key_padding_mask=visible,
            tgt_key_padding_mask=self._padding("target", target, target_mask),
            memory_key_padding_mask=visible,
            src_is_causal=False,
            tgt_is_causal=True,
        )
        return self.head(x)

    @torch.no_grad()
    def generate(
        self,
        source: torch.Tensor,
        start: int,
        max_new_tokens: int,
        source_mask: torch.Tensor | None = None,
        **options,
    ) -> torch.Tensor:
        """Write a target. Call `eval()` first.

        Args:
            source: int64 [N, S].
            start: the token that targets begin with.
            max_new_tokens: the most tokens to write, at most `max_length`.
            source_mask: [N, S], 0 or False where there is padding, behind the text; by default nowhere.
            options: of `generation.write`, such as `do_sample`, `temperature`, `num_beams`, `eos_token_id`.

        Returns:
            int64 [N, at most max_new_tokens], without `start`.

        Raises:
            ValueError: a text that is too long, or an option out of range.
            IndexError: a token that the model doesn't know.
        """
        check_ids("source", source, self.source_embedding.num_embeddings)
        prompt = source.new_full((len(source), 1), start)
        check_ids("start", prompt, self.target_embedding.num_embeddings)
        max_new_tokens = checked_count("generate", "max_new_tokens", max_new_tokens, 0)
        if max_new_tokens > self.max_length:
            raise ValueError(f"generate: max_new_tokens is {max_new_tokens}, max_length {self.max_length}")
        padding = self._padding("source", source, source_mask)
        memory = self.core.encoder(self._embed("source", source), src_key_padding_mask=padding, is_causal=False)
        visible = None if padding is None else (padding == 0)[:, None, None, :]
        return write(_Continued(self, memory, visible, max_new_tokens), prompt, max_new_tokens, **options)

    @property
    def _dtype(self) -> torch.dtype:
        return self.source_embedding.weight.dtype

    def _embed(self, side: str, tokens: torch.Tensor, before: int = 0) -> torch.Tensor:
        length = before + tokens.shape[1]
        if length > self.max_length:
            raise ValueError(f"Transformer: {side} is {length} long, max_length is {self.max_length}")
        embedding, positions = getattr(self, f"{side}_embedding"), getattr(self, f"{side}_positions")
        places = torch.arange(before, length, device=tokens.device)
        return self.dropout(embedding(tokens) * self.scale + positions(places))

    def _padding(self, side: str, tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor | None:
        """What is added to the scores of keys, [N, length]."""
        if mask is None:
            return None
        if mask.shape != tokens.shape:
            raise ValueError(f"Transformer: {side}_mask has shape {list(mask.shape)}, expected {list(tokens.shape)}")
        return torch.zeros_like(mask, dtype=self._dtype).masked_fill(mask == 0, -torch.inf)


class _Continued(Continuation):
    """Targets that a decoder has read into a cache, and the encoder's keys and values, made once."""

    def __init__(self, model: Transformer, memory: torch.Tensor, visible: torch.Tensor | None, capacity: int):
        self.model, self.visible = model, visible
        layers = model.core.decoder.layers
        self.cache = KeyValueCache(len(layers), capacity)
        self.memories = [memory_of(layer.multihead_attn, memory) for layer in layers]
        self.sources = torch.arange(len(memory), device=memory.device)

    def advance(self, tokens: torch.Tensor) -> torch.Tensor:
        decoder = self.model.core.decoder
        x = self.model._embed("target", tokens, self.cache.length)
        for layer, cache, memory in zip(decoder.layers, self.cache.layers, self.memories, strict=True):
            x = _decode(layer, x, cache, memory, self.visible)
        return self.model.head(decoder.norm(x[:, -1]))

    def select(self, rows: torch.Tensor) -> None:
        self.cache.select(rows)
        sources = self.sources[rows]
        if torch.equal(sources, self.sources):  # texts of the same source changed places
            return
        self.sources = sources
        self.memories = [(keys[rows], values[rows]) for keys, values in self.memories]
        self.visible = None if self.visible is None else self.visible[rows]


def _decode(
    layer: torch.nn.TransformerDecoderLayer,
    x: torch.Tensor,
    cache: LayerCache,
    memory: tuple[torch.Tensor, torch.Tensor],
    visible: torch.Tensor | None,
) -> torch.Tensor:
    """What `layer` makes of the next tokens x [N, T, d_model], without dropout."""
    parts = (
        (layer.norm1, lambda x: self_attention(layer.self_attn, x, cache, None)),
        (layer.norm2, lambda x: cross_attention(layer.multihead_attn, x, memory, visible)),
        (layer.norm3, lambda x: layer.linear2(activated(layer.linear1, layer.activation, x))),
    )
    for norm, part in parts:
        x = x + part(norm(x)) if layer.norm_first else norm(x + part(x))
    return x


TRANSFORMERS = {
    "transformer": Transformer,
    "transformer_big": functools.partial(Transformer, d_model=1024, nhead=16, dim_feedforward=4096, dropout=0.3),
}
"""The sizes of the paper's table 3, with its shared vocabulary of 37,000 English and German word pieces."""
