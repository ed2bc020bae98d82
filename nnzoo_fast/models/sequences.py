"""Recurrent networks for sequences as a whole, element by element, into other sequences, and of images."""

from __future__ import annotations

import functools

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nnzoo_fast import nn
from nnzoo_fast.models.generation import Continuation, check_ids, write
from nnzoo_fast.models.recurrent import KINDS, recurrent_layer, select_state


class _Recurrent(nn.Module):
    """What reads the sequence; `forward` of the subclasses says what is answered."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_classes: int,
        kind: str,
        num_layers: int,
        bidirectional: bool,
        dropout: float,
        vocabulary: int | None,
    ):
        super().__init__()
        self.embedding = None if vocabulary is None else nn.Embedding(vocabulary, input_size)
        between = dropout if num_layers > 1 else 0.0
        self.rnn = recurrent_layer(self, kind)(
            input_size, hidden_size, num_layers, batch_first=True, dropout=between, bidirectional=bidirectional
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size * (1 + bidirectional), num_classes)

    def read(self, x: torch.Tensor, lengths: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The output at every step [N, T, D * hidden_size], each direction's last state [N, D * hidden_size]."""
        x = x if self.embedding is None else self.embedding(x)
        steps = x.shape[1]
        if lengths is not None:
            x = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        output, state = self.rnn(x)
        if lengths is not None:
            output, _ = pad_packed_sequence(output, batch_first=True, total_length=steps)
        state = state[0] if isinstance(state, tuple) else state
        directions = 2 if self.rnn.bidirectional else 1
        return output, torch.cat(list(state[-directions:]), dim=-1)


class SequenceClassifier(_Recurrent):
    """One answer for a sequence, from the last state of each direction (many-to-one).

    Args:
        input_size: values of an element, or of a token's vector.
        hidden_size: size of the state.
        num_classes: size of the output.
        kind: "rnn", "gru" or "lstm"; `recurrent.KINDS` says which formulas are meant.
        num_layers: stacked layers.
        bidirectional: read from both ends.
        dropout: probability of dropping a value between layers and before the last one.
        vocabulary: number of tokens, if elements are tokens.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_classes: int,
        kind: str = "lstm",
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        vocabulary: int | None = None,
    ):
        super().__init__(input_size, hidden_size, num_classes, kind, num_layers, bidirectional, dropout, vocabulary)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """[N, T, input_size] or int64 tokens [N, T], and lengths int64 [N] from 1 to T -> logits [N, num_classes]."""
        return self.head(self.dropout(self.read(x, lengths)[1]))


class SequenceTagger(SequenceClassifier):
    """An answer for each element of a sequence (many-to-many). Arguments as for `SequenceClassifier`."""

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """[N, T, input_size] or int64 tokens [N, T], and lengths int64 [N] from 1 to T -> logits [N, T, num_classes].

        Behind the end of a sequence stand the logits of a zero output.
        """
        return self.head(self.dropout(self.read(x, lengths)[0]))


_KINDS = {kind: {"kind": kind} for kind in KINDS} | {"bilstm": {"kind": "lstm", "bidirectional": True}}

CLASSIFIERS = {
    f"{name}_classifier": functools.partial(
        SequenceClassifier, input_size=28, hidden_size=128, num_classes=10, **options
    )
    for name, options in _KINDS.items()
}
"""Of the size at which handwritten digits are read row by row."""

TAGGERS = {
    f"{name}_tagger": functools.partial(
        SequenceTagger, input_size=50, hidden_size=300, num_classes=45, vocabulary=10000, **options
    )
    for name, options in _KINDS.items()
}
"""Of the sizes for 45 parts of speech in Huang et al., "Bidirectional LSTM-CRF models for sequence tagging" (2015)."""


class Seq2Seq(nn.Module):
    """A GRU reads one sequence, another writes the next, which looks back at what was read.

    Sutskever et al. (2014), with the attention of Luong et al., "Effective approaches to attention-based neural machine
    translation" (2015), "dot": scores are products of the two GRUs' outputs.

    Args:
        source_vocabulary, target_vocabulary: numbers of tokens.
        hidden_size: size of vectors and states.
        num_layers: stacked layers of both GRUs.
        dropout: probability of dropping a value between layers and of the tokens' vectors.
    """

    def __init__(
        self,
        source_vocabulary: int,
        target_vocabulary: int,
        hidden_size: int = 128,
        num_layers: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__()
        between = dropout if num_layers > 1 else 0.0
        self.source_embedding = nn.Embedding(source_vocabulary, hidden_size)
        self.target_embedding = nn.Embedding(target_vocabulary, hidden_size)
        self.encoder = nn.GRU(hidden_size, hidden_size, num_layers, batch_first=True, dropout=between)
        self.decoder = nn.GRU(hidden_size, hidden_size, num_layers, batch_first=True, dropout=between)
        self.combine = nn.Linear(2 * hidden_size, hidden_size)
        self.head = nn.Linear(hidden_size, target_vocabulary)
        self.dropout = nn.Dropout(dropout)

    def forward(self, source: torch.Tensor, target: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Predict each next token of a known target.

        Args:
            source: int64 [N, S].
            target: int64 [N, T], which begins with a start token.
            lengths: int64 [N], of the sources; by default all S.

        Returns:
            Logits [N, T, target_vocabulary].
        """
        memory, state, visible = self._read(source, lengths)
        return self._write(target, memory, state, visible)[0]

    @torch.no_grad()
    def generate(
        self,
        source: torch.Tensor,
        start: int,
        max_new_tokens: int,
        lengths: torch.Tensor | None = None,
        **options,
    ) -> torch.Tensor:
        """Write a target. Call `eval()` first.

        Args:
            source: int64 [N, S].
            start: the token that targets begin with.
            max_new_tokens: the most tokens to write.
            lengths: int64 [N], of the sources; by default all S.
            options: of `generation.write`, such as `do_sample`, `temperature`, `num_beams`, `eos_token_id`.

        Returns:
            int64 [N, at most max_new_tokens], without `start`.

        Raises:
            ValueError: an option out of range.
            IndexError: a token that the model doesn't know.
        """
        check_ids("source", source, self.source_embedding.num_embeddings)
        prompt = source.new_full((len(source), 1), start)
        check_ids("start", prompt, self.target_embedding.num_embeddings)
        return write(_Continued(self, *self._read(source, lengths)), prompt, max_new_tokens, **options)

    def _read(self, source, lengths):
        x = self.dropout(self.source_embedding(source))
        if lengths is None:
            return *self.encoder(x), None
        packed, state = self.encoder(pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False))
        memory, _ = pad_packed_sequence(packed, batch_first=True, total_length=source.shape[1])
        places = torch.arange(source.shape[1], device=source.device)
        return memory, state, (places < lengths[:, None])[:, None, :]

    def _write(self, target, memory, state, visible):
        output, state = self.decoder(self.dropout(self.target_embedding(target)), state)
        # `attention` over one head: scale 1, since Luong's scores are plain products
        seen = nn.functional.scaled_dot_product_attention(output, memory, memory, visible, scale=1.0)
        return self.head(torch.tanh(self.combine(torch.cat([seen, output], dim=-1)))), state


class _Continued(Continuation):
    """Targets that end in a state, and what they look back at."""

    def __init__(self, model: Seq2Seq, memory: torch.Tensor, state: torch.Tensor, visible: torch.Tensor | None):
        self.model, self.memory, self.state, self.visible = model, memory, state, visible

    def advance(self, tokens: torch.Tensor) -> torch.Tensor:
        logits, self.state = self.model._write(tokens, self.memory, self.state, self.visible)
        return logits[:, -1]

    def select(self, rows: torch.Tensor) -> None:
        self.state = select_state(self.state, rows)
        self.memory = self.memory[rows]
        self.visible = None if self.visible is None else self.visible[rows]


class ConvLSTMForecaster(nn.Module):
    """The next images of a sequence: Shi et al., "Convolutional LSTM network" (2015), without peephole weights.

    Args:
        channels: of the images.
        hidden_channels: of the state.
        kernel_size: of the convolutions, odd.
        num_layers: stacked layers.
    """

    def __init__(self, channels: int = 1, hidden_channels: int = 32, kernel_size: int = 3, num_layers: int = 2):
        super().__init__()
        self.lstm = nn.ConvLSTM2d(channels, hidden_channels, kernel_size, num_layers=num_layers, batch_first=True)
        self.head = nn.Conv2d(hidden_channels, channels, 1)

    def forward(self, images: torch.Tensor, count: int = 1) -> torch.Tensor:
        """[N, T, channels, H, W] -> the `count` images that follow [N, count, channels, H, W], each made from those
        before it."""
        if count < 1:
            raise ValueError(f"ConvLSTMForecaster: count must be at least 1, got {count}")
        output, state = self.lstm(images)
        found = [self.head(output[:, -1])]
        for _ in range(count - 1):
            output, state = self.lstm(found[-1][:, None], state)
            found.append(self.head(output[:, -1]))
        return torch.stack(found, dim=1)
