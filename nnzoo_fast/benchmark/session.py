"""One run of the benchmarks from beginning to end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from nnzoo_fast.allocator import tune_allocator
from nnzoo_fast.benchmark import graphs, layers, models, ops
from nnzoo_fast.benchmark.kept import Kept
from nnzoo_fast.benchmark.ops import Job, Settings
from nnzoo_fast.benchmark.report import Report
from nnzoo_fast.benchmark.timing import pinned
from nnzoo_fast.machine import Machine, measure_roof
from nnzoo_fast.spec import all_specs
from nnzoo_fast.verify import short

GROUPS = {"layers": layers.all_rows, "graphs": graphs.all_rows, "models": models.all_rows}
"""Names that stand for whole layers, layers on graphs, and published models, and what times them."""

Progress = Callable[[int, int, str], None]
"""Called with how many jobs are done, how many there are, and the name of the next."""


def run(names: Sequence[str], settings: Settings, progress: Progress, partial: Path | None = None) -> Report:
    """Times what is named, operations or `GROUPS`; by default every operation, with `settings.every` the groups too.

    Args:
        partial: a file for the rows measured so far. A run that finds one of the same machine, versions and settings
            goes on from there.
    """
    found = all_specs()
    specs = [spec for name, spec in found.items() if name in names or not names]
    dtypes = {dtype: None for spec in specs for dtype in (spec.dtypes if settings.every else spec.dtypes[:1])}
    tuned = tune_allocator()
    with pinned() as is_pinned:
        roofs = {dtype: measure_roof(dtype, settings.device) for dtype in (torch.float32, *dtypes)}
        planned: list[Job] = [job for spec in specs for job in ops.jobs(spec, settings, roofs[spec.dtypes[0]])]
        here = Machine.here()
        identity = {**here.as_dict(), **asdict(settings), "date": None}
        kept, rows = Kept(partial, identity), []
        for number, job in enumerate(planned):
            progress(number, len(planned), str(job))
            rows += kept(str(job), functools.partial(ops.run, job, settings, roofs[job.dtype]))
        for name, all_rows in GROUPS.items():
            if name in names or (settings.every and not names):
                rows += all_rows(settings, roofs[torch.float32], progress, kept)
        progress(len(planned), len(planned), "done")
    used = {**asdict(settings), "pinned": is_pinned, "allocator_tuned": tuned}
    return Report(here, {short(dtype): roof for dtype, roof in roofs.items()}, used, rows)
