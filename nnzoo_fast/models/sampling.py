"""How a generative model draws its next token."""

import torch


def draw(logits: torch.Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> torch.Tensor:
    """One index per row of `logits` [N, vocabulary], drawn from softmax(logits / temperature): int64 [N, 1].

    Temperature 0 takes the largest.
    """
    if temperature < 0:
        raise ValueError(f"draw: temperature must not be negative, got {temperature}")
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    return torch.multinomial(torch.softmax(logits / temperature, dim=-1), 1, generator=generator)


def require_prompt(prompt: torch.Tensor) -> None:
    """Raises ValueError unless `prompt` is [N, T] with T >= 1: a first token can't be drawn from nothing."""
    if prompt.dim() != 2 or prompt.shape[1] == 0:
        raise ValueError(f"generate: prompt must be [N, T] with T >= 1, got {list(prompt.shape)}")
