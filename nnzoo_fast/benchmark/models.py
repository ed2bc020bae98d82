"""Times the models of the zoo: whole training steps, optimizer included, on the data of their recipes."""

from __future__ import annotations

import copy
import functools

import torch
from torch.utils.flop_counter import FlopCounterMode

from nnzoo_fast import recipes
from nnzoo_fast.backends import STOCK_BACKEND
from nnzoo_fast.benchmark.ops import AUTOMATIC, COMPILED, EAGER, HOT, TRAINING, Row, Settings
from nnzoo_fast.benchmark.timing import interleave
from nnzoo_fast.machine import Roof
from nnzoo_fast.recipes.recipe import Recipe, Trainer
from nnzoo_fast.recipes.twins import FAST, SAME_RTOL, STOCK, twins_of


def run(recipe: Recipe, settings: Settings, roof: Roof) -> Row:
    """One row: our model against the same model on stock torch, eager and compiled."""
    twins = twins_of(recipe, seed=0)
    trainers = {AUTOMATIC: twins[FAST], EAGER: twins[STOCK]}
    generator = torch.Generator().manual_seed(0)
    batches = [recipe.batch(generator) for _ in range(8)]
    flops = _step_flops(recipe, twins[STOCK].model, batches[0])
    if settings.compile:
        torch.compiler.reset()
        compiled = torch.compile(copy.deepcopy(twins[STOCK].model), dynamic=False)
        trainers[COMPILED] = Trainer(recipe, compiled, STOCK_BACKEND)
    checks = _checks(recipe, batches)
    runners = {
        name: lambda number, trainer=trainer: trainer.step(batches[number % len(batches)])
        for name, trainer in trainers.items()
    }
    timings, failures = interleave(runners, 3 * settings.seconds, device=settings.device)
    row = Row(
        recipe.name,
        "step",
        "float32",
        TRAINING,
        HOT,
        AUTOMATIC,
        "by layer",
        flops,
        0.0,
        False,
        checks,
        timings,
        failures,
    )
    row.compare((EAGER, COMPILED))
    if row.ours and not checks:
        row.roof_part = roof.floor(flops, 0.0) / row.ours.median
    return row


def _step_flops(recipe: Recipe, model: torch.nn.Module, batch) -> float:
    with FlopCounterMode(display=False) as counter:
        recipe.loss(copy.deepcopy(model), batch).backward()
    return float(counter.get_total_flops())


def _checks(recipe: Recipe, batches) -> list[str]:
    """The first losses of both twins must agree, else the times say nothing."""
    twins = twins_of(recipe, seed=0)
    for batch in batches[:3]:
        stock, fast = (float(twins[side].step(batch)) for side in (STOCK, FAST))
        if not abs(fast - stock) <= SAME_RTOL * abs(stock):
            return [f"loss {fast:.6g}, stock torch's {stock:.6g}"]
    return []


def all_rows(settings: Settings, roof: Roof, progress, kept) -> list[Row]:
    """A row per family; `progress` and `kept` as for operations."""
    found = recipes.all_recipes()
    rows = []
    for number, (name, recipe) in enumerate(found.items()):
        label = f"{name}, training step"
        progress(number, len(found), label)
        rows += kept(label, functools.partial(lambda *job: [run(*job)], recipe, settings, roof))
    return rows
