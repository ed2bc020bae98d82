"""Times the bench cases of an `OpSpec`: our backends, stock torch, torch.compile and installed peers, side by side."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch

from nnzoo_fast import _extension, machine, verify
from nnzoo_fast.backends import REFERENCE_BACKEND, STOCK_BACKEND
from nnzoo_fast.benchmark.memory import peak_memory
from nnzoo_fast.benchmark.timing import Ratio, Timing, interleave
from nnzoo_fast.explain import NotReached, explain
from nnzoo_fast.machine import Roof
from nnzoo_fast.spec import BenchCase, Call, Maker, OpSpec, outputs_of

AUTOMATIC = "nnzoo_fast"
"""Our candidate when no backend is asked for: whatever the library chooses."""

EAGER, COMPILED, ZENTORCH = "eager", "torch.compile", "zentorch"
FORWARD, TRAINING = "forward", "training"
COLD, HOT = "cold", "hot"
MOST_COPIES = 64


@dataclass(frozen=True)
class Settings:
    """What to time. `backends` empty: the automatic choice; `seconds` is the time to measure one table row.

    `dtypes`: only these, by their short names, of those that would be timed; empty for all of them.
    `ladder`: the rungs of every operation's ladder in place of a backend, forward in float32 on its quick cases.
    """

    backends: tuple[str, ...] = ()
    device: str = "cpu"
    seconds: float = 1.0
    quick: bool = False
    every: bool = False
    compile: bool = True
    ladder: bool = False
    dtypes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One case in one dtype. `work` is the forward call alone, or with its gradients; caches start cold or hot."""

    spec: OpSpec
    case: BenchCase
    dtype: torch.dtype
    work: str
    cache: str

    def __str__(self) -> str:
        return f"{self.spec.name} {self.case.id} {verify.short(self.dtype)} {self.work} {self.cache}"


@dataclass
class Row:
    """One of our candidates in one job. Times are seconds; `roof_part` is the least possible time over ours.

    Ratios, against every peer (`ratios`) and the fastest (`ratio`), are given only if the operation's checks pass in
    this dtype on what ran. `memory`: bytes that one call holds at most beyond what it was given, results included.
    """

    name: str
    case: str
    dtype: str
    work: str
    cache: str
    candidate: str
    ran_on: str
    flops: float
    bytes: float
    memory_bound: bool
    checks: list[str]
    timings: dict[str, Timing]
    failures: dict[str, str]
    peer: str | None = None
    ratio: Ratio | None = None
    roof_part: float | None = None
    ratios: dict[str, Ratio] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    @property
    def ours(self) -> Timing | None:
        return self.timings.get(self.candidate)

    def compare(self, peers: Iterable[str]) -> None:
        """Fills in the ratios, if these times count."""
        if self.ours is None or self.checks:
            return
        timed = [peer for peer in peers if peer in self.timings]
        self.ratios = {peer: Ratio.of(self.ours, self.timings[peer]) for peer in timed}
        self.peer = min(timed, key=lambda peer: self.timings[peer].median, default=None)
        self.ratio = self.ratios.get(self.peer)


def jobs(spec: OpSpec, settings: Settings, roof: Roof) -> Iterator[Job]:
    """What to time of an operation: quick cases only, every case, or every case in every dtype."""
    if settings.ladder:
        for case in spec.bench if spec.variants else ():
            if case.quick:
                yield Job(spec, case, spec.dtypes[0], FORWARD, COLD)
        return
    for case in spec.bench:
        if settings.quick and not case.quick:
            continue
        for dtype in spec.dtypes if settings.every or settings.dtypes else spec.dtypes[:1]:
            if settings.dtypes and verify.short(dtype) not in settings.dtypes:
                continue
            for work in (FORWARD, TRAINING) if case.backward else (FORWARD,):
                flops, moved = _amounts(case, dtype, work)
                yield Job(spec, case, dtype, work, COLD)
                if roof.is_memory_bound(flops, moved):
                    yield Job(spec, case, dtype, work, HOT)


def run(job: Job, settings: Settings, roof: Roof) -> list[Row]:
    """Times a job, a row per candidate of ours."""
    candidates = {**_ours(job, settings), EAGER: job.spec.stock}
    if settings.compile and job.spec.traceable:
        torch.compiler.reset()
        candidates[COMPILED] = torch.compile(job.spec.stock, dynamic=False)
    if job.spec.traceable and zentorch_is_peer(settings, job.work):
        candidates[ZENTORCH] = torch.compile(job.spec.stock, dynamic=False, backend="zentorch")
    candidates |= job.spec.peers
    calls = inputs(job, settings.device)
    # zentorch reorders weights where they lie
    own = {ZENTORCH: [_copy(call) for call in calls]} if ZENTORCH in candidates else {}
    runners = {name: runner(function, own.get(name, calls), job.work) for name, function in candidates.items()}
    timings, failures = interleave(runners, settings.seconds, device=settings.device)
    peers = (EAGER, COMPILED, ZENTORCH, *job.spec.peers)
    memory = peaks({name: runners[name] for name in (*_ours(job, settings), EAGER) if name in timings}, settings.device)
    return [_row(job, settings, roof, name, timings, failures, peers, memory) for name in _ours(job, settings)]


def peaks(runners: dict[str, Callable[[int], object]], device: str) -> dict[str, int]:
    """The `memory` of a row."""
    found = {name: peak_memory(call, device) for name, call in runners.items()}
    return {name: peak for name, peak in found.items() if peak is not None}


def zentorch_is_peer(settings: Settings, work: str) -> bool:
    """AMD's compiler backend knows inference on CPUs only."""
    wanted = settings.compile and work == FORWARD and settings.device == "cpu"
    if not wanted or importlib.util.find_spec(ZENTORCH) is None:
        return False
    importlib.import_module(ZENTORCH)
    return True


def inputs(job: Job, device: str) -> list[Call]:
    """The calls to go through in turn: one whose data stays in the caches, or copies that together overflow them."""
    first = job.case.make(Maker(job.dtype, device, grad=job.work == TRAINING))
    if job.cache == HOT:
        return [first]
    size = sum(tensor.numel() * tensor.element_size() for tensor in first.tensors())
    copies = min(MOST_COPIES, math.ceil(2 * machine.last_level_cache() / max(size, 1)))
    return [first, *(_copy(first) for _ in range(copies))]


def _copy(call: Call) -> Call:
    return call.map(lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad))


def _ours(job: Job, settings: Settings) -> dict[str, Callable]:
    if settings.ladder:
        return job.spec.variants
    if not settings.backends:
        return {AUTOMATIC: job.spec.function}
    return {name: functools.partial(job.spec.function, backend=name) for name in settings.backends}


def runner(function: Callable, calls: list[Call], work: str) -> Callable[[int], object]:
    """Runs `function` on the call of a number, forward alone or with its gradients."""
    if work == FORWARD:

        def forward(number: int):
            with torch.no_grad():
                return calls[number % len(calls)].run(function)

        return forward

    wanted = [[tensor for tensor in call.tensors() if tensor.requires_grad] for call in calls]
    cotangents: list[torch.Tensor] = []

    def training(number: int):
        place = number % len(calls)
        outputs = [out for out in outputs_of(calls[place].run(function)) if out.requires_grad]
        if not cotangents:
            cotangents.extend(torch.randn_like(out) for out in outputs)
        return torch.autograd.grad(outputs, wanted[place], cotangents, allow_unused=True)

    return training


def _row(job, settings, roof, name, timings, failures, peers, memory) -> Row:
    flops, moved = _amounts(job.case, job.dtype, job.work)
    ran_on = _ran_on(job, settings.device) if name == AUTOMATIC else name
    row = Row(
        job.spec.name, job.case.id, verify.short(job.dtype), job.work, job.cache, name, ran_on, flops, moved,
        roof.is_memory_bound(flops, moved), checks(job.spec, ran_on, settings.device, job.dtype), timings, failures,
        memory=memory,
    )  # fmt: skip
    row.compare(peers)
    if row.ours and not row.checks and job.cache == COLD:
        row.roof_part = roof.floor(flops, moved) / row.ours.median
    return row


def _amounts(case: BenchCase, dtype: torch.dtype, work: str) -> tuple[float, float]:
    """FLOPs and compulsory bytes. Gradients are counted as twice the forward work, exact for matrix products."""
    times = 3 if work == TRAINING else 1
    return times * case.flops, times * case.bytes * dtype.itemsize / 4


def _ran_on(job: Job, device: str) -> str:
    call = job.case.make(Maker(job.dtype, device, grad=job.work == TRAINING))
    try:
        return explain(job.spec.function, *call.args, **call.kwargs).chosen
    except NotReached:
        return STOCK_BACKEND


@functools.cache
def _cached_checks(name: str, backend: str, isa: str | None, device: str, dtype: torch.dtype) -> tuple[str, ...]:
    spec = verify.all_specs()[name]
    return tuple(verify.check(spec, verify.Target(backend, device, isa), dtype).failures)


def checks(spec: OpSpec, backend: str, device: str, dtype: torch.dtype) -> list[str]:
    """What `verify` has against this operation on this backend; a number counts only if that is nothing.

    Rungs of the ladder are no backends: the tests check those.
    """
    if backend in (STOCK_BACKEND, REFERENCE_BACKEND, *spec.variants):
        return []
    isa = _extension._C.isa() if backend == "cpu" and _extension._C else None
    return list(_cached_checks(spec.name, backend, isa, device, dtype))
