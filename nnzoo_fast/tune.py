"""`nnzoo-fast tune`: measures where our kernels beat stock torch on this CPU, and writes the table that `pays` reads.

An op folder's `sweep.py` gives calls from small to large, `SWEEP`, and says what kind a table files one under and how
much work it is: `kind_of(*args)` of the operation's arguments. Every call is timed forward and training against stock
torch in one process, in its first dtype on one thread and on all, in others on one or all in turn. A point is written
to the file as soon as it is measured, so an interrupted sweep goes on where it stopped.

Where every call of a kind was timed on one thread and on several, a table tells these apart.

One call that meets a noisy moment must not spoil a table: what contradicts its neighbours is measured again, and counts
only once it has been measured three times.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import math
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch

from nnzoo_fast import machine, ops, tables
from nnzoo_fast.benchmark.ops import COLD, FORWARD, TRAINING, Job, inputs, runner
from nnzoo_fast.benchmark.timing import Ratio, interleave, pinned
from nnzoo_fast.explain import reached_by
from nnzoo_fast.spec import BenchCase, OpSpec, Sample, all_specs

TOLERATED = 0.95
"""The least ratio of a single point from where a kernel is said to win: as fast, within what timings scatter."""

CONFIRMED = 3
"""So many measurements of one call are believed, whatever its neighbours say."""

ANY, SEVERAL, ONE = "any", "several", "one"
"""How many threads an entry of a table is for."""

FEWEST_ROUNDS, MOST_ROUNDS = 3, 300


@dataclass(frozen=True)
class Point:
    """One measurement: stock torch's time over ours for a call of this kind and work. `task` names the call."""

    task: str
    kind: str
    work: int
    ratio: float

    @property
    def call(self) -> str:
        """The task but for the number of its threads."""
        return self.task.rpartition(" ")[0]

    @property
    def alone(self) -> bool:
        """Whether it ran on one thread."""
        return self.task.endswith(" 1")

    @property
    def verdict(self) -> int:
        """1: we win, -1: we lose, 0: neither."""
        return (self.ratio >= 1) - (self.ratio < TOLERATED)


def kinds(points: Iterable[Point]) -> dict[str, list[Point]]:
    found = defaultdict(list)
    for point in points:
        found[point.kind].append(point)
    return dict(sorted(found.items()))


def merged(points: Iterable[Point]) -> list[tuple[Point, int]]:
    """A point for each call of one kind, by work: the median of its measurements, and how many there are."""
    same = defaultdict(list)
    for point in points:
        same[point.task].append(point)
    found = [
        (Point(task, every[0].kind, every[0].work, statistics.median(point.ratio for point in every)), len(every))
        for task, every in same.items()
    ]
    return sorted(found, key=lambda entry: entry[0].work)


def doubtful(points: Iterable[Point]) -> set[str]:
    """The calls of one kind to measure again: those whose verdict is the opposite of what lies around them in work.

    That is more than half of the two next smaller and the two next larger calls, and some on either side.
    """
    found, ordered = set(), merged(points)
    for number, (point, count) in enumerate(ordered):
        sides = ordered[max(number - 2, 0) : number], ordered[number + 1 : number + 3]
        against = [[point.verdict * other.verdict < 0 for other, _ in side] for side in sides if side]
        some_on_either_side = against and all(map(any, against))
        if count < CONFIRMED and some_on_either_side and 2 * sum(map(sum, against)) > sum(map(len, against)):
            found.add(point.task)
    return found


def wins_from(points: Iterable[Point], unsettled: Set[str] | None = None) -> int | None:
    """The least work from which no call is slower than stock torch and their geometric mean is not; None: nowhere.

    Calls that are `unsettled` don't count; by default those that are doubtful among these.
    """
    points, ratios = list(points), defaultdict(list)
    if unsettled is None:
        unsettled = doubtful(points)
    for point, _ in merged(points):
        if point.task not in unsettled:
            ratios[point.work].append(point.ratio)
    least, above = None, []
    for work in sorted(ratios, reverse=True):
        if min(ratios[work]) < TOLERATED:
            break
        above += ratios[work]
        if math.prod(above) >= 1:
            least = work
    return least


class Crossing(NamedTuple):
    """From where on our kernel wins calls of a kind on `ANY`, `SEVERAL` or `ONE` thread, and what says so."""

    kind: str
    threads: str
    wins_from: int | None
    points: list[Point]


def crossings(points: Iterable[Point]) -> Iterator[Crossing]:
    """Of every kind of an operation; one thread apart from several where every call was timed on both."""
    for kind, every in kinds(points).items():
        unsettled = doubtful(every)  # twice as many neighbours as either part has tell more
        several, one = ([point for point in every if point.alone is alone] for alone in (False, True))
        apart = {point.call for point in several} == {point.call for point in one}
        for threads, some in {SEVERAL: several, ONE: one}.items() if apart else [(ANY, every)]:
            yield Crossing(kind, threads, wins_from(some, unsettled), some)


def entries(points: Iterable[Point]) -> dict[str, dict[str, int | None]]:
    """What a table says of an operation: `wins_from` and, where one thread differs from that, `alone`."""
    found = list(crossings(points))
    everywhere = {each.kind: each.wins_from for each in found if each.threads != ONE}
    alone = {each.kind: each.wins_from for each in found if each.threads == ONE}
    return {"wins_from": everywhere, "alone": {k: least for k, least in alone.items() if least != everywhere[k]}}


@dataclass
class Sweep:
    """What has been measured so far, and the file that keeps it.

    Args:
        measured_on: the machine and versions; points of other ones don't mix with these.
        points: by operation.
    """

    path: Path
    cpu: tables.Cpu
    measured_on: dict
    points: dict[str, list[Point]] = field(default_factory=dict)

    @staticmethod
    def resume(path: Path) -> Sweep:
        """The sweep that `path` holds, if it was measured here with these versions; else an empty one."""
        sweep = Sweep(path, tables.Cpu.here(), _identity())
        if path.is_file():
            data = json.loads(path.read_text())
            if data.get("measured_on") == sweep.measured_on and data.get("cpu") == sweep.cpu.as_dict():
                for name, entry in data["operations"].items():
                    sweep.points[name] = [Point(*values) for values in entry["points"]]
        return sweep

    def add(self, operation: str, point: Point) -> None:
        self.points.setdefault(operation, []).append(point)
        self.write()

    def doubtful(self, operation: str) -> set[str]:
        return set().union(*map(doubtful, kinds(self.points.get(operation, [])).values()))

    def write(self) -> None:
        """In one step, so that nobody reads half a table."""
        operations = {
            name: {
                **entries(self.points[name]),
                "points": [[point.task, point.kind, point.work, point.ratio] for point in self.points[name]],
            }
            for name in sorted(self.points)
        }
        data = {"cpu": self.cpu.as_dict(), "measured_on": self.measured_on, "operations": operations}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, suffix=".json")
        with os.fdopen(handle, "w") as file:
            file.write(_one_point_a_line(data))
        os.chmod(name, 0o644)
        os.replace(name, self.path)


def _one_point_a_line(data: dict) -> str:
    text = json.dumps(data, indent=1)
    for entry in data["operations"].values():
        text = text.replace(
            json.dumps(entry["points"], indent=1).replace("\n", "\n   "),
            "[\n" + ",\n".join(f"    {json.dumps(point)}" for point in entry["points"]) + "\n   ]",
        )
    return text + "\n"


def _identity() -> dict:
    here = machine.Machine.here()
    return {"cpu": here.cpu, "cores": here.cores, "threads": here.threads, "versions": here.versions}


def swept() -> dict[str, ModuleType]:
    """The `sweep` module of every op folder that has one."""
    names = {name: f"{ops.__name__}.{name}.sweep" for name in all_specs()}
    return {
        name: importlib.import_module(path)
        for name, path in names.items()
        if importlib.util.find_spec(path) is not None
    }


@dataclass(frozen=True)
class Task:
    """One call to time, in one dtype and way, on so many threads."""

    job: Job
    threads: int

    def __str__(self) -> str:
        job = self.job
        return f"{job.case.id} {tables.DTYPE_NAMES[job.dtype]} {job.work} {self.threads}"


def tasks(spec: OpSpec, samples: Iterable[Sample]) -> Iterator[Task]:
    counts = sorted({torch.get_num_threads(), 1}, reverse=True)
    for number, sample in enumerate(samples):
        for dtype in spec.dtypes:
            one = counts[number % len(counts)]
            for work in (FORWARD, TRAINING):
                for threads in counts if dtype == spec.dtypes[0] else (one,):
                    yield Task(Job(spec, BenchCase(sample.id, sample.make, 0, 0), dtype, work, COLD), threads)


def measure(task: Task, kind_of: Callable[..., tuple[str, int]], seconds: float) -> Point | None:
    """Times one call; None if our kernel can't run it."""
    job = task.job
    before = torch.get_num_threads()
    torch.set_num_threads(task.threads)
    try:
        calls = inputs(job, "cpu")
        with torch.set_grad_enabled(job.work == TRAINING):
            operation, values, _ = reached_by(job.spec.function, *calls[0].args, **calls[0].kwargs)
            kernel = operation.table[0]
            if not kernel.supports(*values)[0]:
                return None
            kind, work = kind_of(*values)
        ours = functools.partial(job.spec.function, backend=kernel.name)
        candidates = {"ours": ours, "stock": job.spec.stock}
        runners = {name: runner(function, calls, job.work) for name, function in candidates.items()}
        timings, failures = interleave(runners, seconds, (FEWEST_ROUNDS, MOST_ROUNDS))
        if failures:
            raise RuntimeError(f"{job.spec.name} {task}: {failures}")
        return Point(str(task), kind, int(work), round(Ratio.of(timings["ours"], timings["stock"]).median, 3))
    finally:
        torch.set_num_threads(before)


def tune(names: Iterable[str], path: Path, seconds: float, advance: Callable[[int, int, str], None]) -> Sweep:
    """Measures what `path` doesn't hold yet of these operations (all that have a sweep, if there are none).

    Then what is `doubtful`, until nothing is.

    Args:
        seconds: how long to time each call.
        advance: told the number of calls done, of all, and what comes next.
    """
    names, specs, modules = set(names), all_specs(), swept()
    sweep = Sweep.resume(path)
    every = [
        (name, task, module.kind_of)
        for name, module in modules.items()
        if name in names or not names
        for task in tasks(specs[name], module.SWEEP)
    ]
    known = {(name, point.task) for name, points in sweep.points.items() for point in points}
    todo = [entry for entry in every if (entry[0], str(entry[1])) not in known]
    with pinned():
        while todo or (todo := [entry for entry in every if str(entry[1]) in sweep.doubtful(entry[0])]):
            for number, (name, task, kind_of) in enumerate(todo):
                advance(number, len(todo), f"{name} {task}")
                if (point := measure(task, kind_of, seconds)) is not None:
                    sweep.add(name, point)
            todo = []
    return sweep
