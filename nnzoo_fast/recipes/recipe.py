"""What a recipe is, and the one training loop that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

import nnzoo_fast

Batch = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Recipe:
    """How a family is trained and judged.

    Args:
        name: of the model.
        source: where the data come from.
        model: a fresh model, initialised from torch's default generator.
        optimizer: an optimizer of these parameters.
        batch: the next training batch, drawn with this generator.
        loss: mean loss of a model on a batch.
        evaluate: the metric on held-out data.
        metric: its name.
        resolution: the smallest step that the metric can make.
        baseline: what the metric is without learning; `baseline_name` says how.
        steps: training steps that suffice to beat the baseline clearly.
        precise: compare two trainings step by step in float64, because in float32 they part by themselves: where few
            values stand behind a ReLU or a batch norm, one value that rounds to the other side of zero changes the
            whole gradient by half a percent.
    """

    name: str
    source: str
    model: Callable[[], torch.nn.Module]
    optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
    batch: Callable[[torch.Generator], Batch]
    loss: Callable[[torch.nn.Module, Batch], torch.Tensor]
    evaluate: Callable[[torch.nn.Module], float]
    metric: str
    resolution: float
    baseline: float
    baseline_name: str
    steps: int
    precise: bool = False


class Trainer:
    """A model with its optimizer, one step at a time, on a backend (None: the automatic choice)."""

    def __init__(self, recipe: Recipe, model: torch.nn.Module, backend: str | None = None):
        self.recipe, self.model, self.backend = recipe, model.train(), backend
        self.optimizer = recipe.optimizer(model.parameters())

    def step(self, batch: Batch) -> torch.Tensor:
        """One step; returns the loss before it, a scalar."""
        with nnzoo_fast.backend(self.backend):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.recipe.loss(self.model, batch)
            loss.backward()
            self.optimizer.step()
        return loss.detach()

    def evaluate(self) -> float:
        """The recipe's metric now."""
        with nnzoo_fast.backend(self.backend):
            return self.recipe.evaluate(self.model)


def train(recipe: Recipe, model: torch.nn.Module, seed: int = 0, steps: int | None = None) -> list[float]:
    """Trains `model` for `steps` (default: the recipe's) on batches drawn with `seed`; returns every step's loss."""
    trainer, generator = Trainer(recipe, model), torch.Generator().manual_seed(seed)
    return [float(trainer.step(recipe.batch(generator))) for _ in range(recipe.steps if steps is None else steps)]
