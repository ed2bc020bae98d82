"""One run of the benchmarks from beginning to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from nnzoo_fast.benchmark import ops
from nnzoo_fast.benchmark.ops import Job, Settings
from nnzoo_fast.benchmark.report import Report
from nnzoo_fast.benchmark.timing import pinned
from nnzoo_fast.machine import Machine, measure_roof
from nnzoo_fast.spec import all_specs
from nnzoo_fast.verify import short

MODELS = "models"
"""The name that stands for every model of the zoo."""

Progress = Callable[[int, int, str], None]
"""Called with how many jobs are done, how many there are, and the name of the next."""


def run(names: Sequence[str], settings: Settings, progress: Progress) -> Report:
    """Times the operations `names` (empty: all)."""
    specs = [spec for name, spec in all_specs().items() if not names or name in names]
    dtypes = dict.fromkeys(dtype for spec in specs for dtype in (spec.dtypes if settings.every else spec.dtypes[:1]))
    with pinned() as is_pinned:
        roofs = {dtype: measure_roof(dtype, settings.device) for dtype in dtypes}
        planned: list[Job] = [job for spec in specs for job in ops.jobs(spec, settings, roofs[spec.dtypes[0]])]
        rows = []
        for number, job in enumerate(planned):
            progress(number, len(planned), str(job))
            rows += ops.run(job, settings, roofs[job.dtype])
        progress(len(planned), len(planned), "done")
    used = {**asdict(settings), "pinned": is_pinned}
    return Report(Machine.here(), {short(dtype): roof for dtype, roof in roofs.items()}, used, rows)
