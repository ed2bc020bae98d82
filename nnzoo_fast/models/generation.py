"""Writing with a model, token by token: the likeliest, a drawn one, or the best of several beams.

A model says what follows a text (`Continuation`); this file says what is written. Arguments and results are those of
`generate` in transformers.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from nnzoo_fast.models.arguments import checked_count
from nnzoo_fast.models.beams import Beams
from nnzoo_fast.models.sampling import draw, filtered


class Continuation(ABC):
    """Texts that a model goes on writing, one to a row, with what it remembers of them."""

    @abstractmethod
    def advance(self, tokens: Tensor) -> Tensor:
        """Appends `tokens`, int64 [rows, T]; returns the logits of the token behind them, [rows, vocabulary]."""

    @abstractmethod
    def select(self, rows: Tensor) -> None:
        """Keeps the texts `rows`, int64 [M], in that order; one that is named twice is there twice."""


@torch.no_grad()
def write(
    text: Continuation,
    prompt: Tensor,
    max_new_tokens: int,
    *,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    eos_token_id: int | list[int] | None = None,
    pad_token_id: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """What follows `prompt`.

    By default each token is the likeliest. A text ends behind a token of `eos_token_id`, and writing ends with the last
    text.

    Args:
        text: what the model knows before `prompt`.
        prompt: int64 [N, T], T >= 1.
        max_new_tokens: the most tokens to write.
        do_sample: draw each token instead; with `num_beams`, the continuations that are pursued.
        temperature, top_k, top_p, generator: how to draw; see `sampling.filtered` and `sampling.draw`.
        num_beams: how many texts of each sequence to pursue; the one of the highest score is the result, the score
            being the sum of the tokens' log-probabilities over length ** length_penalty.
        length_penalty: above 0 prefers long texts, below 0 short ones.
        early_stopping: when a sequence with `num_beams` ended texts is done. False: when no other would score better,
            ended now. "never": when none could, ended late. True: at once.
        eos_token_id: tokens that end a text.
        pad_token_id: stands behind the end of a text; by default the first `eos_token_id`.

    Returns:
        int64 [N, at most max_new_tokens], without `prompt`.

    Raises:
        TypeError: a number of tokens or beams that is no integer.
        ValueError: an argument is out of range, or contradicts another.
    """
    _check_prompt(prompt)
    ends = [] if eos_token_id is None else [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
    pad = pad_token_id if pad_token_id is not None else (ends or [0])[0]
    max_new_tokens = checked_count("generate", "max_new_tokens", max_new_tokens, 0)
    num_beams = checked_count("generate", "num_beams", num_beams, 1)
    if not isinstance(early_stopping, bool) and early_stopping != "never":
        raise ValueError(f'generate: early_stopping must be True, False or "never", got {early_stopping!r}')
    if not do_sample and (temperature != 1 or any(given is not None for given in (top_k, top_p, generator))):
        raise ValueError("generate: temperature, top_k, top_p and generator say how to draw; set do_sample=True")
    if num_beams == 1 and (length_penalty != 1 or early_stopping is not False):
        raise ValueError("generate: length_penalty and early_stopping say how to search; set num_beams")
    if max_new_tokens == 0:
        return prompt[:, :0]
    how = dict(temperature=temperature, top_k=top_k, top_p=top_p)
    if num_beams > 1:
        drawing = (functools.partial(filtered, **how), generator) if do_sample else ()
        beams = Beams(num_beams, length_penalty, early_stopping, ends, pad, max_new_tokens, *drawing)
        return _search(text, prompt, beams)

    def choose(logits: Tensor) -> Tensor:
        return draw(logits, generator, **how) if do_sample else logits.argmax(-1)

    stops = torch.tensor(ends, dtype=torch.int64, device=prompt.device)
    ended = torch.zeros(len(prompt), dtype=torch.bool, device=prompt.device)
    written: list[Tensor] = []
    while len(written) < max_new_tokens and not (written and ends and ended.all()):
        logits = text.advance(written[-1] if written else prompt)
        if not written:
            _check_tokens(ends, pad, logits.shape[-1])
        token = choose(logits).masked_fill(ended, pad)
        ended |= torch.isin(token, stops)
        written.append(token[:, None])
    return torch.cat(written, dim=1)


def _search(text: Continuation, prompt: Tensor, beams: Beams) -> Tensor:
    logits = text.advance(prompt)
    _check_tokens(beams.ends, beams.pad, logits.shape[-1])
    rows = beams.start(logits)
    while rows is not None:
        text.select(rows)
        rows = beams.step(text.advance(beams.last_tokens()))
    return beams.best()


def check_ids(name: str, tokens: Tensor, vocabulary: int) -> None:
    """Raises unless `tokens` are integers from 0 to `vocabulary` - 1; TypeError or IndexError, as torch's embedding."""
    if tokens.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"generate: {name} must be int64 or int32, got {tokens.dtype}")
    if tokens.numel():
        least, largest = (int(value) for value in tokens.aminmax())
        if least < 0 or largest >= vocabulary:
            wrong = least if least < 0 else largest
            raise IndexError(f"generate: {name} holds token {wrong}, the model knows 0 to {vocabulary - 1}")


def _check_prompt(prompt: Tensor) -> None:
    if prompt.dim() != 2 or prompt.shape[1] == 0:
        raise ValueError(f"generate: prompt must be [N, T] with T >= 1, got {list(prompt.shape)}")


def _check_tokens(ends: list[int], pad: int, vocabulary: int) -> None:
    for name, token in (*(("eos_token_id", end) for end in ends), ("pad_token_id", pad)):
        if not 0 <= token < vocabulary:
            raise ValueError(f"generate: {name} is {token}, the model knows 0 to {vocabulary - 1}")
