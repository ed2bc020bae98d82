"""Attention networks: each element of a sequence looks at those before it and takes from where it finds a match."""

import torch

from nnzoo_fast import nn
from nnzoo_fast.models.arguments import checked_count
from nnzoo_fast.models.cache import KeyValueCache, LayerCache, self_attention
from nnzoo_fast.models.generation import Continuation, check_ids, write


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): the pre-norm transformer block of GPT-2."""

    def __init__(self, n_embd: int, n_head: int, dropout: float):
        super().__init__()
        self.ln_1 = nn.LayerNorm(n_embd)
        self.attn = nn.MultiheadAttention(n_embd, n_head, dropout=dropout, batch_first=True)
        self.ln_2 = nn.LayerNorm(n_embd)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(n_embd, 4 * n_embd), "act": nn.GELU("tanh"), "c_proj": nn.Linear(4 * n_embd, n_embd)}
        )
        self.drop = nn.Dropout(dropout)
        self.register_load_state_dict_pre_hook(from_transformers)

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        padding: torch.Tensor | None = None,
        cache: LayerCache | None = None,
        visible: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """x [N, T, n_embd] -> the same, with `mask` and `padding` as `nn.MultiheadAttention` has them, or with a cache
        and what of it is `visible`."""
        h = self.ln_1(x)
        if cache is None:
            h, _ = self.attn(h, h, h, key_padding_mask=padding, attn_mask=mask, need_weights=False, is_causal=True)
        else:
            h = self_attention(self.attn, h, cache, visible)
        x = x + self.drop(h)
        h = self.ln_2(x)
        for layer in self.mlp.values():
            h = layer(h)
        return x + self.drop(h)


class GPT(nn.Module):
    """GPT-2: Radford et al., "Language models are unsupervised multitask learners" (2019).

    `load_state_dict` also takes the `state_dict` of transformers' `GPT2LMHeadModel`.

    Args:
        vocab_size: number of distinct tokens.
        n_positions: longest sequence.
        n_embd: size of a token's vector.
        n_layer: number of blocks.
        n_head: attention heads of a block; they share n_embd.
        dropout: probability of dropping an embedding, an attention weight, or a value that a block adds.
    """

    def __init__(
        self,
        vocab_size: int = 50257,
        n_positions: int = 1024,
        n_embd: int = 768,
        n_layer: int = 12,
        n_head: int = 12,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.n_positions = n_positions
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(vocab_size, n_embd),
                "wpe": nn.Embedding(n_positions, n_embd),
                "drop": nn.Dropout(dropout),
                "h": nn.ModuleList(Block(n_embd, n_head, dropout) for _ in range(n_layer)),
                "ln_f": nn.LayerNorm(n_embd),
            }
        )
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight
        self._initialise()

    def forward(
        self,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> torch.Tensor:
        """Predict each next token.

        Args:
            tokens: int64 [N, T].
            attention_mask: [N, T], 0 or False where there is padding, before or behind the text; by default nowhere.
                Places are counted from the first token that is none.
            cache: what earlier calls read: `tokens` go on from there, and are added. `attention_mask` then is
                [N, cache.length + T]. For inference; attention weights are not dropped.

        Returns:
            Logits [N, T, vocab_size]; those of padding mean nothing.
        """
        return self.lm_head(self.read(tokens, attention_mask, cache))

    def read(
        self, tokens: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: KeyValueCache | None = None
    ) -> torch.Tensor:
        """As `forward`, without its last layer: [N, T, n_embd]."""
        before = 0 if cache is None else cache.length
        length = before + tokens.shape[1]
        if length > self.n_positions:
            raise ValueError(f"GPT: tokens are {length} long, n_positions is {self.n_positions}")
        wte, wpe, drop, blocks, ln_f = self.transformer.values()
        if attention_mask is None:
            places = torch.arange(before, length, device=tokens.device)
        else:
            _check_mask(attention_mask, len(tokens), length)
            places = (attention_mask.long().cumsum(1) - 1).clamp(min=0)[:, before:]
        x = drop(wte(tokens) + wpe(places))
        if cache is None:
            mask = nn.Transformer.generate_square_subsequent_mask(length, device=x.device, dtype=x.dtype)
            padding = None
            if attention_mask is not None:
                padding = torch.zeros_like(attention_mask, dtype=x.dtype).masked_fill(attention_mask == 0, -torch.inf)
            for block in blocks:
                x = block(x, mask, padding)
        else:
            visible = None if attention_mask is None else attention_mask.bool()[:, None, None, :]
            for block, layer in zip(blocks, cache.layers, strict=True):
                x = block(x, cache=layer, visible=visible)
        return ln_f(x)

    @torch.no_grad()
    def generate(
        self, prompt: torch.Tensor, max_new_tokens: int, attention_mask: torch.Tensor | None = None, **options
    ) -> torch.Tensor:
        """Continue a text. Call `eval()` first.

        Args:
            prompt: int64 [N, T], T >= 1; `prompt` and what is written fit into n_positions.
            max_new_tokens: the most tokens to write.
            attention_mask: [N, T], 0 or False where there is padding, which stands before the text.
            options: of `generation.write`: greedy by default, or `do_sample`, `temperature`, `top_k`, `top_p`,
                `generator`; `num_beams`, `length_penalty`, `early_stopping`; `eos_token_id`, `pad_token_id`.

        Returns:
            int64 [N, T + at most max_new_tokens], `prompt` and what follows it.

        Raises:
            ValueError: no prompt, one that is too long or padded at its end, or an option out of range.
            IndexError: a token that the model doesn't know.
        """
        check_ids("prompt", prompt, self.lm_head.out_features)
        max_new_tokens = checked_count("generate", "max_new_tokens", max_new_tokens, 0)
        capacity = max(prompt.shape[-1] + max_new_tokens - 1, 1)
        if capacity > self.n_positions:
            raise ValueError(
                f"generate: a prompt of {prompt.shape[-1]} tokens and {max_new_tokens} new ones don't fit into "
                f"n_positions {self.n_positions}"
            )
        if attention_mask is not None:
            _check_mask(attention_mask, *prompt.shape)
            if not attention_mask[:, -1].all():
                raise ValueError("generate: attention_mask hides the last token of a prompt; pad on the left")
        text = _Continued(self, attention_mask, capacity)
        return torch.cat([prompt, write(text, prompt, max_new_tokens, **options)], dim=1)

    def _initialise(self) -> None:
        """Normal weights; those that write into the residual stream smaller, since 2 n_layer of them add up."""
        blocks = self.transformer["h"]
        for name, parameter in self.named_parameters():
            if "ln_" in name:
                continue
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                writes_residual = name.endswith(("out_proj.weight", "mlp.c_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * len(blocks)) ** 0.5 if writes_residual else 0.02)


def _check_mask(mask: torch.Tensor, rows: int, length: int) -> None:
    if mask.shape != (rows, length):
        raise ValueError(f"GPT: attention_mask has shape {list(mask.shape)}, expected {[rows, length]}")


class _Continued(Continuation):
    """Texts that a GPT has read into a cache."""

    def __init__(self, model: GPT, attention_mask: torch.Tensor | None, capacity: int):
        self.model, self.mask = model, attention_mask
        self.cache = KeyValueCache(len(model.transformer["h"]), capacity)

    def advance(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.mask is not None and self.cache.length:
            self.mask = torch.cat([self.mask, torch.ones_like(tokens, dtype=self.mask.dtype)], dim=1)
        return self.model.lm_head(self.model.read(tokens, self.mask, self.cache)[:, -1])

    def select(self, rows: torch.Tensor) -> None:
        self.cache.select(rows)
        self.mask = None if self.mask is None else self.mask[rows]


def from_transformers(block: Block | None, state_dict: dict, prefix: str, *_) -> None:
    """Renames the entries of a transformers block, whose weights are [in_features, out_features], to ours."""
    if f"{prefix}attn.c_attn.weight" not in state_dict:
        return
    for theirs, ours in (
        ("attn.c_attn.", "attn.in_proj_"),
        ("attn.c_proj.", "attn.out_proj."),
        ("mlp.c_fc.", "mlp.c_fc."),
        ("mlp.c_proj.", "mlp.c_proj."),
    ):
        for kind in ("weight", "bias"):
            if (value := state_dict.pop(f"{prefix}{theirs}{kind}", None)) is not None:
                state_dict[f"{prefix}{ours}{kind}"] = value.t() if kind == "weight" else value
