"""Predict the next character: CharLSTM and GPT."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from nnzoo_fast import models
from nnzoo_fast.data import Text
from nnzoo_fast.recipes.recipe import Batch, Recipe

HELD_OUT = 64
"""Windows of held-out text that judge a model, spread evenly over it."""


def char_lstm(data: Text) -> Recipe:
    model = functools.partial(models.CharLSTM, len(data.symbols), embedding_dim=64, hidden_size=256)
    return _recipe("CharLSTM", data, model, lambda model, text: model(text)[0], batch_size=32, length=64, rate=3e-3)


def gpt(data: Text) -> Recipe:
    size = dict(n_positions=64, n_embd=128, n_layer=3, n_head=4, dropout=0.0)
    model = functools.partial(models.GPT, len(data.symbols), **size)
    return _recipe("GPT", data, model, lambda model, text: model(text), batch_size=16, length=64, rate=1e-3)


def unigram_bits(data: Text) -> float:
    """Bits per character of the held-out text by the training text's frequencies (each symbol counted once more)."""
    counts = torch.bincount(data.train, minlength=len(data.symbols)).double() + 1
    return float(-(counts / counts.sum()).log2()[data.test].mean())


def _recipe(name: str, data: Text, model, logits: Callable, batch_size: int, length: int, rate: float) -> Recipe:
    def windows(text: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        return text[starts[:, None] + torch.arange(length + 1)]

    def batch(generator: torch.Generator) -> Batch:
        return (windows(data.train, torch.randint(len(data.train) - length, (batch_size,), generator=generator)),)

    def loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        (text,) = batch
        return F.cross_entropy(logits(model, text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())

    def evaluate(model: torch.nn.Module) -> float:
        starts = torch.linspace(0, len(data.test) - length - 1, HELD_OUT).long()
        model.eval()
        with torch.no_grad():
            nats = float(loss(model, (windows(data.test, starts),)))
        model.train()
        return nats / math.log(2)

    return Recipe(
        name=name,
        source=data.source,
        model=model,
        # Adam divides a gradient by its own size; a large eps keeps it from blowing rounding noise up to full steps.
        optimizer=functools.partial(torch.optim.Adam, lr=rate, eps=1e-6),
        batch=batch,
        loss=loss,
        evaluate=evaluate,
        metric="bits per character",
        resolution=0.01,
        baseline=unigram_bits(data),
        baseline_name="unigram entropy",
        steps=200,
    )
