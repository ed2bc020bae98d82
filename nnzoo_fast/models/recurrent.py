"""Recurrent networks: a state is carried from one element of a sequence to the next."""

import torch

from nnzoo_fast import nn
from nnzoo_fast.models.sampling import draw, require_prompt

State = tuple[torch.Tensor, torch.Tensor]


class CharLSTM(nn.Module):
    """A character-level language model: embedding, LSTM, and a linear layer to the logits of the next character.

    Args:
        vocabulary: number of distinct characters.
        embedding_dim: size of a character's vector.
        hidden_size: size of the LSTM's state.
        num_layers: number of stacked LSTMs.
        dropout: probability of dropping a value between stacked LSTMs.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding_dim: int = 32,
        hidden_size: int = 128,
        num_layers: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_size, num_layers, dropout=dropout, batch_first=True)
        self.head = nn.Linear(hidden_size, vocabulary)

    def forward(self, characters: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        """Predict each next character.

        Args:
            characters: int64 [N, T].
            state: what an earlier call returned, to continue its text; None starts anew.

        Returns:
            Logits [N, T, vocabulary] and the state (h, c), each [num_layers, N, hidden_size].
        """
        output, state = self.lstm(self.embedding(characters), state)
        return self.head(output), state

    @torch.no_grad()
    def generate(
        self,
        prompt: torch.Tensor,
        count: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Continue `prompt`, int64 [N, T] with T >= 1, by `count` characters; returns int64 [N, T + count].

        Each character is drawn from softmax(logits / temperature); 0 takes the most likely one. Call `eval()` first.
        """
        require_prompt(prompt)
        text, state = [prompt], None
        for _ in range(count):
            logits, state = self(text[-1], state)
            text.append(draw(logits[:, -1], temperature, generator))
        return torch.cat(text, dim=1)
