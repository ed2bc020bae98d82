"""Beam search: several texts of each sequence are pursued side by side, and the best that ended is kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nnzoo_fast.nn import functional


class Beams:
    """The texts that are pursued, and the best `count` that ended, of N sequences.

    Args:
        count: how many texts of a sequence are pursued.
        length_penalty: the score of a text is the sum of its tokens' log-probabilities over length ** length_penalty.
        early_stopping: when a sequence with `count` ended texts is done; see `generation.write`.
        ends: tokens that end a text.
        pad: stands behind the end of a text.
        longest: the length at which every text ends.
        filtered: draw the continuations instead of taking the likeliest, from the softmax of their scores, which this
            has changed and filtered: `sampling.filtered` with its options.
        generator: of random numbers; by default torch's.
    """

    def __init__(
        self,
        count: int,
        length_penalty: float,
        early_stopping: bool | str,
        ends: list[int],
        pad: int,
        longest: int,
        filtered: Callable[..., Tensor] | None = None,
        generator: torch.Generator | None = None,
    ):
        self.count, self.length_penalty, self.early_stopping = count, length_penalty, early_stopping
        self.ends, self.pad, self.longest = ends, pad, longest
        self.filtered, self.generator = filtered, generator

    def start(self, logits: Tensor) -> Tensor | None:
        """The first tokens, from `logits` [N, vocabulary]; as `step`, but for one row to a sequence."""
        sequences = len(logits)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        self.stops = torch.tensor(self.ends, dtype=torch.int64, device=logits.device)
        self.scores = logits.new_zeros(sequences, 1, dtype=dtype)
        self.texts = self.stops.new_empty(sequences, 1, 0)
        self.ended_scores = self.scores.new_full((sequences, self.count), -torch.inf)  # of each sequence, best first
        self.ended_texts = self.texts.new_full((sequences, self.count, self.longest), self.pad)
        self.ended_lengths = self.texts.new_zeros(sequences, self.count)
        self.open = torch.ones(sequences, dtype=torch.bool, device=logits.device)
        return self.step(logits)

    def step(self, logits: Tensor) -> Tensor | None:
        """A token more for every text, from `logits` [N * texts, vocabulary].

        Returns:
            The row that each text which goes on had in `logits`, int64 [N * texts], or None if all is done.
        """
        sequences, texts = self.scores.shape
        vocabulary, length = logits.shape[-1], self.texts.shape[-1] + 1
        steps = functional.log_softmax(logits.to(self.scores.dtype), -1)
        # Should the likeliest all be ends, there still are `count` texts to go on with.
        each = 1 + max(len(self.ends), 1)
        if self.filtered is not None:
            steps = self.filtered(steps, least=each)
        candidates = min(each * self.count, texts * vocabulary)
        scores = self.scores[..., None] + steps.view(sequences, texts, vocabulary)
        scores, index = self._chosen(scores.flatten(1), candidates)
        parents, tokens = index // vocabulary, index % vocabulary
        written = torch.cat([_taken(self.texts, parents), tokens[..., None]], dim=-1)
        ended = torch.isin(tokens, self.stops) | (length == self.longest)
        self._keep(written[:, : self.count], scores[:, : self.count], ended[:, : self.count])
        self.scores, chosen = scores.masked_fill(ended, -torch.inf).topk(min(self.count, candidates))
        self.texts = _taken(written, chosen)
        if length == self.longest or self._done(length):
            return None
        first_rows = torch.arange(sequences, device=logits.device)[:, None] * texts
        return (parents.gather(1, chosen) + first_rows).flatten()

    def last_tokens(self) -> Tensor:
        """What stands at the end of every text, int64 [N * texts, 1]."""
        return self.texts[..., -1:].flatten(0, 1)

    def best(self) -> Tensor:
        """The best text of each sequence, int64 [N, length of the longest], padded."""
        longest = int(self.ended_lengths[:, 0].max()) if len(self.ended_lengths) else 0
        return self.ended_texts[:, 0, :longest]

    def _chosen(self, scores: Tensor, candidates: int) -> tuple[Tensor, Tensor]:
        """Of `scores` [N, texts * vocabulary] so many, the largest or drawn, and their places."""
        if self.filtered is None:
            return scores.topk(candidates)
        possible = scores.shape[1]
        # As many places at the first step as at all others: a seed draws what it draws in transformers.
        places = possible * self.count // self.scores.shape[1]
        scores = functional.pad(scores, (0, places - possible), value=-torch.inf)
        # Of a sequence that is done no text may go on; what is drawn for it doesn't matter.
        done = (scores == -torch.inf).all(-1, keepdim=True)
        index = torch.multinomial(scores.masked_fill(done, 0).softmax(-1), candidates, generator=self.generator)
        return scores.gather(1, index), index % possible

    def _keep(self, texts: Tensor, scores: Tensor, ended: Tensor) -> None:
        """Takes those that `ended` among the best, while their sequence is open."""
        length = texts.shape[-1]
        ended = ended & self.open[:, None]
        if self.early_stopping is True:
            ended = ended & ~self._full()[:, None]
        scores = (scores / length**self.length_penalty).masked_fill(~ended, -torch.inf)
        texts = functional.pad(texts, (0, self.longest - length), value=self.pad)
        lengths = torch.full_like(texts[..., 0], length)
        self.ended_scores, chosen = torch.cat([self.ended_scores, scores], 1).topk(self.count)
        self.ended_texts = _taken(torch.cat([self.ended_texts, texts], 1), chosen)
        self.ended_lengths = torch.cat([self.ended_lengths, lengths], 1).gather(1, chosen)

    def _full(self) -> Tensor:
        return self.ended_scores[:, -1] > -torch.inf

    def _done(self, length: int) -> bool:
        """Closes the sequences whose texts can't become better than all that ended; whether none is open."""
        patient = self.early_stopping == "never" and self.length_penalty > 0
        hope = self.scores[:, 0] / (self.longest if patient else length) ** self.length_penalty
        self.open &= hope > self.ended_scores[:, -1]
        return not self.open.any() or (self.early_stopping is True and bool(self._full().all()))


def _taken(texts: Tensor, index: Tensor) -> Tensor:
    """Of each sequence's `texts` [N, texts, length], those at `index` [N, M]."""
    return texts.take_along_dim(index[..., None], dim=1)
