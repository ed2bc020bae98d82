"""Trains the same model twice from the same seed, on stock torch and on nnzoo_fast, and compares the two."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

import nnzoo_fast
from nnzoo_fast.backends import STOCK_BACKEND
from nnzoo_fast.recipes.recipe import Batch, Recipe, Trainer

STOCK, FAST = "stock", "fast"
SAME_STEPS, SAME_RTOL = 50, 1e-3
"""Losses must agree to this relative tolerance over the first steps; later, rounding may lead two runs apart."""


@dataclass
class Run:
    """One side of a pair: the loss and the seconds of each step, and the metric at the end."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    metric: float = math.nan


@dataclass
class Comparison:
    """The pairs of one family, one per seed: `runs[seed]["stock"]` and `runs[seed]["fast"]`.

    `precise` holds the same in float64 for recipes whose curves are compared there.
    """

    recipe: Recipe
    runs: list[dict[str, Run]] = field(default_factory=list)
    precise: list[dict[str, Run]] = field(default_factory=list)

    def metrics(self, side: str) -> list[float]:
        return [pair[side].metric for pair in self.runs]

    def metric(self, side: str) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.metrics(side))

    def step_seconds(self, side: str) -> float:
        """Median over all steps of all seeds."""
        return statistics.median(seconds for pair in self.runs for seconds in pair[side].seconds)

    @property
    def speed_up(self) -> float:
        return self.step_seconds(STOCK) / self.step_seconds(FAST)

    def deviation(self, steps: int | None = None) -> float:
        """Largest relative difference of two losses within the first `steps`, in float64 where the recipe says so."""
        return _deviation(self.precise if self.recipe.precise else self.runs, steps)

    @property
    def spread(self) -> float:
        """How far the metric varies with the seed alone, on the side where it varies more."""
        ranges = [max(self.metrics(side)) - min(self.metrics(side)) for side in (STOCK, FAST)]
        return max(*ranges, self.recipe.resolution)

    def problems(self) -> list[str]:
        """Why the two are not the same training; empty if they are."""
        found = []
        early = self.deviation(SAME_STEPS)
        if not early <= SAME_RTOL:
            found.append(f"losses differ by {early:.1e} within {SAME_STEPS} steps, allowed {SAME_RTOL:.0e}")
        first = _deviation(self.runs, 1)
        if not first <= SAME_RTOL:
            found.append(f"first losses differ by {first:.1e}, allowed {SAME_RTOL:.0e}")
        apart = abs(self.metric(FAST) - self.metric(STOCK))
        if not apart <= self.spread:
            found.append(f"final {self.recipe.metric} differs by {apart:.3g}, the spread of seeds is {self.spread:.3g}")
        return found


def _deviation(runs: list[dict[str, Run]], steps: int | None) -> float:
    """Infinite if there is nothing to compare, or a loss is not a number."""
    differences = [
        abs(fast - stock) / abs(stock) if math.isfinite(fast) and math.isfinite(stock) and stock else math.inf
        for pair in runs
        for stock, fast in zip(pair[STOCK].losses[:steps], pair[FAST].losses[:steps], strict=True)
    ]
    return max(differences, default=math.inf)


Change = Callable[[torch.nn.Module], torch.nn.Module]


def twins_of(
    recipe: Recipe, seed: int, change: Change | None = None, dtype: torch.dtype = torch.float32
) -> dict[str, Trainer]:
    """A fresh model of this seed on nnzoo_fast, and its copy on torch.nn's own layers.

    Layers that torch.nn has no class for run on stock operators because the stock trainer asks for that backend.

    Args:
        change: applied to the fast twin.
        dtype: of the parameters.
    """
    torch.manual_seed(seed)
    fast = recipe.model().to(dtype)
    stock = nnzoo_fast.restore(copy.deepcopy(fast))
    return {STOCK: Trainer(recipe, stock, STOCK_BACKEND), FAST: Trainer(recipe, change(fast) if change else fast)}


def train_twins(
    recipe: Recipe,
    seed: int,
    advance: Callable[[], None],
    steps: int | None = None,
    change: Change | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Run]:
    """One pair. The sides take turns step by step, so that drift of the machine hits both.

    Args:
        advance: called after every step of both.
        steps: default the recipe's.
        change: applied to the fast twin before training.
        dtype: of parameters and data; the metric is left out in any but float32.
    """
    trainers, runs = twins_of(recipe, seed, change, dtype), {STOCK: Run(), FAST: Run()}
    generator = torch.Generator().manual_seed(seed)
    for number in range(recipe.steps if steps is None else steps):
        batch = tuple(part.to(dtype) if part.is_floating_point() else part for part in recipe.batch(generator))
        for side in (STOCK, FAST) if number % 2 else (FAST, STOCK):
            timed_step(trainers[side], batch, runs[side])
        advance()
    if dtype == torch.float32:
        for side, run in runs.items():
            run.metric = trainers[side].evaluate()
    return runs


def timed_step(trainer: Trainer, batch: Batch, run: Run) -> None:
    start = time.perf_counter()
    loss = trainer.step(batch)
    run.seconds.append(time.perf_counter() - start)
    run.losses.append(float(loss))
