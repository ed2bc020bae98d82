"""Recurrent language models: a state is carried from one element of a text to the next."""

from __future__ import annotations

import functools

import torch

from nnzoo_fast import nn
from nnzoo_fast.models.generation import Continuation, check_ids, write

KINDS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
"""The layers that `kind` names, all of them torch's formulas. Textbooks differ in three places:

- Two biases, of the input and of the state. Only their sum counts, save in a GRU's new state; textbooks have one.
- The GRU's reset gate acts behind the hidden product, n = tanh(W x + b + r * (U h + c)), as in cuDNN; Cho et al.,
  "Learning phrase representations using RNN encoder-decoder" (2014), have tanh(W x + b + U (r * h)).
- The LSTM is that of Gers et al. (2000), with a forget gate and without peepholes.
"""

State = torch.Tensor | tuple[torch.Tensor, torch.Tensor]
"""[num_layers, N, hidden_size]; of an LSTM h and c."""


class RecurrentLanguageModel(nn.Module):
    """The next token at every place (many-to-many): embedding, recurrent layers, a linear layer to the logits.

    Mikolov et al., "Recurrent neural network based language model" (2010). `KINDS` says which formulas are meant.

    Args:
        vocabulary: number of distinct tokens.
        embedding_dim: size of a token's vector.
        hidden_size: size of the state.
        num_layers: number of stacked layers.
        dropout: probability of dropping a value between stacked layers.
        kind: "rnn", "gru" or "lstm".
    """

    def __init__(
        self,
        vocabulary: int,
        embedding_dim: int = 32,
        hidden_size: int = 128,
        num_layers: int = 1,
        dropout: float = 0.0,
        kind: str = "lstm",
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding_dim)
        self.rnn = recurrent_layer(self, kind)(
            embedding_dim, hidden_size, num_layers, dropout=dropout, batch_first=True
        )
        self.head = nn.Linear(hidden_size, vocabulary)

    def forward(self, tokens: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        """Predict each next token.

        Args:
            tokens: int64 [N, T].
            state: what an earlier call returned, to continue its text; None starts anew.

        Returns:
            Logits [N, T, vocabulary] and the state behind the last token.
        """
        output, state = self.rnn(self.embedding(tokens), state)
        return self.head(output), state

    @torch.no_grad()
    def generate(self, prompt: torch.Tensor, max_new_tokens: int, **options) -> torch.Tensor:
        """Continue a text. Call `eval()` first.

        Args:
            prompt: int64 [N, T], T >= 1.
            max_new_tokens: the most tokens to write.
            options: of `generation.write`, such as `do_sample`, `temperature`, `num_beams`, `eos_token_id`.

        Returns:
            int64 [N, T + at most max_new_tokens], `prompt` and what follows it.

        Raises:
            ValueError: no prompt, or an option out of range.
            IndexError: a token that the model doesn't know.
        """
        check_ids("prompt", prompt, self.head.out_features)
        return torch.cat([prompt, write(_Continued(self), prompt, max_new_tokens, **options)], dim=1)


class CharLSTM(RecurrentLanguageModel):
    """An LSTM that reads and writes characters. Arguments as for `RecurrentLanguageModel`, without `kind`."""

    def __init__(
        self,
        vocabulary: int,
        embedding_dim: int = 32,
        hidden_size: int = 128,
        num_layers: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__(vocabulary, embedding_dim, hidden_size, num_layers, dropout, "lstm")


def recurrent_layer(model: torch.nn.Module, kind: str) -> type[torch.nn.Module]:
    """The class that `kind` names; ValueError, in the name of `model`, if there is none."""
    if kind not in KINDS:
        raise ValueError(f"{type(model).__name__}: kind is {kind!r}, expected {', '.join(KINDS)}")
    return KINDS[kind]


def select_state(state: State, rows: torch.Tensor) -> State:
    """The states of the sequences `rows`, int64 [M]."""
    return tuple(part[:, rows] for part in state) if isinstance(state, tuple) else state[:, rows]


class _Continued(Continuation):
    """Texts that end in a state."""

    def __init__(self, model: RecurrentLanguageModel):
        self.model, self.state = model, None

    def advance(self, tokens: torch.Tensor) -> torch.Tensor:
        output, self.state = self.model.rnn(self.model.embedding(tokens), self.state)
        return self.model.head(output[:, -1])

    def select(self, rows: torch.Tensor) -> None:
        self.state = select_state(self.state, rows)


LANGUAGE_MODELS = {
    f"{kind}_language_model": functools.partial(
        RecurrentLanguageModel, 10000, embedding_dim=650, hidden_size=650, num_layers=2, dropout=0.5, kind=kind
    )
    for kind in KINDS
}
"""Of 10,000 words and the "medium" size of Zaremba et al., "Recurrent neural network regularization" (2014)."""
