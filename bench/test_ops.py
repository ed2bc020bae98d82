"""pytest-benchmark over the bench cases of every `OpSpec`: `pytest bench --benchmark-only`.

`nnzoo-fast bench` interleaves its candidates and gates them by their checks, so it is the one to quote; this suite is
for watching one kernel while working on it, with pytest's selection (`-k conv`) and pytest-benchmark's comparisons.
"""

import pytest
import torch

from nnzoo_fast import recipes
from nnzoo_fast.benchmark import ops
from nnzoo_fast.machine import Roof
from nnzoo_fast.recipes.twins import FAST, STOCK, twins_of
from nnzoo_fast.spec import all_specs

COMPUTE_BOUND = Roof(flops=1.0, bytes=float("inf"))
JOBS = [job for spec in all_specs().values() for job in ops.jobs(spec, ops.Settings(), COMPUTE_BOUND)]


@pytest.mark.parametrize("candidate", [ops.AUTOMATIC, ops.EAGER])
@pytest.mark.parametrize("job", JOBS, ids=str)
def test_op(benchmark, job, candidate):
    benchmark.group = str(job)
    function = job.spec.function if candidate == ops.AUTOMATIC else job.spec.stock
    call = ops.runner(function, ops.inputs(job, "cpu"), job.work)
    numbers = iter(range(10**9))
    benchmark(lambda: call(next(numbers)))


@pytest.mark.parametrize("side", [FAST, STOCK])
@pytest.mark.parametrize("family", recipes.FAMILIES)
def test_training_step(benchmark, family, side):
    benchmark.group = f"{family}, one training step"
    recipe = recipes.all_recipes(families=[family])[family]
    trainer = twins_of(recipe, seed=0)[side]
    batch = recipe.batch(torch.Generator().manual_seed(0))
    benchmark(lambda: trainer.step(batch))
