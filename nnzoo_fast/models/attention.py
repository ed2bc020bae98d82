"""Attention networks: each element of a sequence looks at those before it and takes from where it finds a match."""

import torch

from nnzoo_fast import nn
from nnzoo_fast.models.sampling import draw, require_prompt


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

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        h = self.ln_1(x)
        h, _ = self.attn(h, h, h, attn_mask=mask, need_weights=False, is_causal=True)
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

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Predict each next token: int64 [N, T] -> logits [N, T, vocab_size]."""
        length = tokens.shape[1]
        if length > self.n_positions:
            raise ValueError(f"GPT: tokens are {length} long, n_positions is {self.n_positions}")
        wte, wpe, drop, blocks, ln_f = self.transformer.values()
        x = drop(wte(tokens) + wpe(torch.arange(length, device=tokens.device)))
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=x.device, dtype=x.dtype)
        for block in blocks:
            x = block(x, mask)
        return self.lm_head(ln_f(x))

    @torch.no_grad()
    def generate(
        self,
        prompt: torch.Tensor,
        count: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Continue `prompt`, int64 [N, T] with T >= 1, by `count` tokens; returns int64 [N, T + count].

        Each token is drawn from softmax(logits / temperature), given at most the last n_positions tokens; temperature 0
        takes the most likely one. Call `eval()` first.
        """
        require_prompt(prompt)
        text = prompt
        for _ in range(count):
            logits = self(text[:, -self.n_positions :])
            text = torch.cat([text, draw(logits[:, -1], temperature, generator)], dim=1)
        return text

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
