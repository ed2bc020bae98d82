"""Networks of sequences, of torch.nn's layers and of Keras's."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import nn

from nnzoo_fast.models.peers.libraries import keras


class Recurrent(nn.Module):
    """A layer of torch's between an embedding, if there is a vocabulary, and a linear layer.

    Args:
        answer: "last" (from the last state of each direction), "all" (elements), or "state" (those, and the state).
    """

    def __init__(self, layer: nn.RNNBase, classes: int, answer: str, vocabulary: int | None = None):
        super().__init__()
        self.answer = answer
        self.embedding = nn.Embedding(vocabulary, layer.input_size) if vocabulary else nn.Identity()
        self.rnn = layer
        self.head = nn.Linear(layer.hidden_size * (1 + layer.bidirectional), classes)

    def forward(self, x: torch.Tensor):
        output, state = self.rnn(self.embedding(x))
        if self.answer == "last":
            h = state[0] if isinstance(state, tuple) else state
            return self.head(torch.cat([*h[-1 - self.rnn.bidirectional :]], -1))
        return (self.head(output), state) if self.answer == "state" else self.head(output)


def recurrent() -> dict[str, Callable[[], nn.Module]]:
    kinds = {"rnn": (nn.RNN, False), "gru": (nn.GRU, False), "lstm": (nn.LSTM, False), "bilstm": (nn.LSTM, True)}
    found = {}
    for name, (kind, both) in kinds.items():
        layer = functools.partial(kind, batch_first=True, bidirectional=both)
        found[f"{name}_classifier"] = lambda layer=layer: Recurrent(layer(28, 128), 10, "last")
        found[f"{name}_tagger"] = lambda layer=layer: Recurrent(layer(50, 300), 45, "all", 10000)
        if not both:
            found[f"{name}_language_model"] = lambda layer=layer: Recurrent(layer(650, 650, 2), 10000, "state", 10000)
    return found


class Seq2Seq(nn.Module):
    """Two GRUs with Luong's attention, "dot"."""

    def __init__(self):
        super().__init__()
        self.source_embedding, self.target_embedding = (nn.Embedding(10000, 128) for _ in range(2))
        self.encoder, self.decoder = (nn.GRU(128, 128, batch_first=True) for _ in range(2))
        self.combine, self.head = nn.Linear(256, 128), nn.Linear(128, 10000)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        memory, state = self.encoder(self.source_embedding(source))
        output, _ = self.decoder(self.target_embedding(target), state)
        seen = torch.softmax(output @ memory.mT, -1) @ memory
        return self.head(torch.tanh(self.combine(torch.cat([seen, output], -1))))


class Transformer(nn.Module):
    """torch's Transformer between the vectors of tokens and places of Vaswani et al. (2017) and their logits."""

    def __init__(self, size: int, heads: int, hidden: int):
        super().__init__()
        self.source_embedding = self.target_embedding = nn.Embedding(37000, size)
        self.core = nn.Transformer(size, heads, dim_feedforward=hidden, batch_first=True)
        self.head = nn.Linear(size, 37000, bias=False)
        self.head.weight = self.source_embedding.weight
        nn.init.normal_(self.head.weight, std=size**-0.5)  # as published: torch's 1 would saturate all attention

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        later = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        return self.head(self.core(self._vectors(source), self._vectors(target), tgt_mask=later))

    def _vectors(self, tokens: torch.Tensor) -> torch.Tensor:
        size = self.source_embedding.embedding_dim
        places = torch.empty(tokens.shape[1], size, dtype=torch.float64)
        for place in range(len(places)):
            for column in range(size):
                angle = place / 10000 ** (column // 2 * 2 / size)
                places[place, column] = math.cos(angle) if column % 2 else math.sin(angle)
        return self.source_embedding(tokens) * math.sqrt(size) + places.to(self.head.weight.dtype)


class KerasForecaster(nn.Module):
    """Two of Keras's ConvLSTM2D, whose kernels are [*kernel_size, in, out], and a 1x1 convolution of the last state."""

    def __init__(self):
        super().__init__()
        self.keras = keras()
        self.lstm = nn.Module()
        for number, channels in enumerate((1, 32)):
            for name, shape in (("weight_ih", (128, channels, 3, 3)), ("weight_hh", (128, 32, 3, 3)), ("bias", (128,))):
                values = torch.empty(shape).uniform_(-(32**-0.5), 32**-0.5)
                self.lstm.register_parameter(f"{name}_l{number}", nn.Parameter(values))
        self.head = nn.Conv2d(32, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images
        for number in range(2):
            options = {"padding": "same", "data_format": "channels_first", "return_sequences": True}
            layer = self.keras.layers.ConvLSTM2D(32, 3, dtype=str(x.dtype).removeprefix("torch."), **options)
            layer.build(x.shape)
            *kernels, bias = (getattr(self.lstm, f"{name}_l{number}") for name in ("weight_ih", "weight_hh", "bias"))
            weights = [*(kernel.permute(2, 3, 1, 0) for kernel in kernels), bias]
            x, _ = layer.stateless_call(weights, layer.non_trainable_variables, x)
        return self.head(x[:, -1])[:, None]
