"""How a generative model draws its next token: which tokens may be drawn, and how often."""

from __future__ import annotations

import torch
from torch import Tensor

from nnzoo_fast.models.arguments import checked_count


def keep_top_k(logits: Tensor, k: int, least: int = 1) -> Tensor:
    """`logits` [N, vocabulary] with -inf in place of all but the k largest of a row; what equals the k-th stays.

    At least the `least` likeliest stay.

    Raises:
        TypeError: `k` is no integer.
        ValueError: `k` is less than 1.
    """
    k = max(checked_count("keep_top_k", "top_k", k, 1), least)
    if k >= logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(k).values[:, -1:], -torch.inf)


def keep_top_p(logits: Tensor, p: float, least: int = 1) -> Tensor:
    """`logits` [N, vocabulary] with -inf in place of all but the fewest tokens whose probabilities sum to `p`.

    Nucleus sampling: Holtzman et al., "The curious case of neural text degeneration" (2020). The `least`
    likeliest always stay.

    Raises:
        ValueError: `p` is not in (0, 1].
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be greater than 0 and at most 1, got {p}")
    if p == 1:
        return logits
    ordered, tokens = logits.sort()
    out = ordered.softmax(-1).cumsum(-1) <= 1 - p
    out[:, -least:] = False
    return logits.masked_fill(out.scatter(-1, tokens, out), -torch.inf)


def filtered(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, least: int = 1
) -> Tensor:
    """`logits` [N, vocabulary] over `temperature`, in float32 at least, and -inf where nothing is to be drawn.

    Args:
        logits: of any floating dtype.
        temperature: below 1 prefers likely tokens, above 1 levels them.
        top_k: draw among the `top_k` likeliest, then
        top_p: among the fewest of these whose probabilities sum to `top_p`.
        least: so many of the likeliest stay in any case.

    Raises:
        TypeError: `top_k` is no integer.
        ValueError: `temperature` or `top_k` or `top_p` out of range.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be greater than 0, got {temperature}")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    if top_k is not None:
        logits = keep_top_k(logits, top_k, least)
    if top_p is not None:
        logits = keep_top_p(logits, top_p, least)
    return logits


def draw(logits: Tensor, generator: torch.Generator | None = None, **options) -> Tensor:
    """One token per row of `logits` [N, vocabulary], drawn from their softmax: int64 [N].

    Args:
        generator: of random numbers; by default torch's.
        options: temperature, top_k and top_p of `filtered`.
    """
    return torch.multinomial(filtered(logits, **options).softmax(-1), 1, generator=generator).squeeze(-1)
