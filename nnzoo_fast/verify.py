"""`nnzoo-fast verify`: the promise "same answer as PyTorch", checked on this machine for every operation.

Each sample of each `OpSpec` runs on each backend, instruction set and dtype. Outputs and gradients are compared with
the reference in float64, next to stock torch's error in the same dtype; a second run must give the same bits. As a
control, stock torch's results made wrong by 1 % must be refused.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

import nnzoo_fast
from nnzoo_fast import _extension
from nnzoo_fast.backends import STOCK_BACKEND
from nnzoo_fast.explain import reached_by
from nnzoo_fast.spec import (
    Error,
    Maker,
    OpSpec,
    Sample,
    all_specs,
    allowed_for,
    errors_of,
    oracle_and_stock,
    outputs_of,
    run_with_gradients,
)


@dataclass(frozen=True)
class Target:
    """A backend, on a device, with an instruction set if it is the CPU's."""

    backend: str
    device: str = "cpu"
    isa: str | None = None

    def __str__(self) -> str:
        return f"{self.backend} ({self.isa})" if self.isa else self.backend


@dataclass(frozen=True)
class Worst:
    """The deviation that comes closest to (or beyond) what is allowed. Errors are relative Frobenius norms."""

    ours: float = 0.0
    torch: float = 0.0
    part: float = 0.0
    sample: str = ""


@dataclass
class Row:
    """One operation on one target in one dtype. `declined` counts the samples that the backend says it can't run."""

    op: str
    target: str
    dtype: str
    samples: int = 0
    declined: int = 0
    output: Worst = Worst()
    gradient: Worst = Worst()
    repeats: bool = True
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.failures


def targets(spec: OpSpec, backend: str | None = None) -> list[Target]:
    """Where the kernels of an operation run on this machine, or those of one backend; stock torch stands at the end.

    The emulated CUDA kernels, which are slow, run only when `backend` names them.
    """
    call = spec.samples[0].make(Maker())
    operation = reached_by(spec.function, *call.args, **call.kwargs)[0]
    found = []
    for row in operation.table:
        if row.name.startswith("cpu") and _extension._C is not None:
            found += [Target(row.name, isa=isa) for isa in _extension._C.isas()]
        elif row.name == "cuemu" and backend == "cuemu" and _extension.load("_cuemu") is not None:
            found.append(Target("cuemu"))
        elif row.name in ("cuda", "triton") and torch.cuda.is_available():
            found.append(Target(row.name, "cuda"))
    found.append(Target(STOCK_BACKEND))
    return [target for target in found if backend in (None, target.backend)]


def verify(
    ops: list[str] | None = None, backend: str | None = None, progress: Callable[[str], None] | None = None
) -> list[Row]:
    """Checks operations (default: all) on a backend (default: all), a `Row` per op, target and dtype.

    Args:
        progress: called with a label before each row.
    """
    specs = all_specs()
    rows = []
    for name in ops or specs:
        for target in targets(specs[name], backend):
            # Stock torch is the yardstick in every dtype but float64, where it is held against the reference.
            for dtype in [torch.float64] if target.backend == STOCK_BACKEND else specs[name].dtypes:
                if progress:
                    progress(f"{name}, {target}, {short(dtype)}")
                rows.append(check(specs[name], target, dtype))
        if progress:
            progress(f"{name}, control")
        rows.append(control(specs[name]))
    return rows


def check(spec: OpSpec, target: Target, dtype: torch.dtype, function: Callable | None = None) -> Row:
    """Every sample of `spec` on `target`; `function` takes the place of the public function."""
    row = Row(spec.name, str(target), short(dtype))
    with _running_on(target):
        for sample in spec.samples:
            if not _can_run(spec, sample, target, dtype):
                row.declined += 1
                continue
            row.samples += 1
            try:
                _check_sample(row, spec, sample, dtype, function or spec.function, target.device)
            except Exception as error:  # a kernel may raise anything; that is what the row must say
                row.failures.append(f"{sample.id}: {type(error).__name__}: {error}")
    return row


def control(spec: OpSpec) -> Row:
    """Whether the check can fail: results wrong by 1 % must be refused for most samples."""

    def twin(*args, **kwargs):
        wrong = [out * 1.01 if out.is_floating_point() else out for out in outputs_of(spec.stock(*args, **kwargs))]
        return wrong[0] if len(wrong) == 1 else tuple(wrong)

    found = check(spec, Target(STOCK_BACKEND), torch.float32, twin)
    refused = len({failure.partition(":")[0] for failure in found.failures})
    row = Row(spec.name, "control: 1 % off", short(torch.float32), samples=found.samples)
    if refused <= found.samples // 2:
        row.failures.append(f"only {refused} of {found.samples} wrong results were refused: the check is blind")
    return row


def _check_sample(row: Row, spec: OpSpec, sample: Sample, dtype: torch.dtype, function, device: str) -> None:
    call = sample.make(Maker(dtype))
    oracle, usual = oracle_and_stock(spec, call)
    allowances = iter(allowed_for(spec, sample, call, dtype, errors_of(usual, oracle)))
    with _poisoned_memory():
        found, again = (run_with_gradients(function, sample.make(Maker(dtype, device))) for _ in range(2))
    for kind, ours, truth, peers in zip(("output", "gradient"), found, oracle, usual, strict=True):
        if not len(ours) == len(truth) == len(peers):
            row.failures.append(f"{sample.id}: {len(ours)} {kind}s, expected {len(truth)}")
            continue
        for position, (value, expected, peer) in enumerate(zip(ours, truth, peers, strict=True)):
            worst = _compare(value, expected, peer, next(allowances), sample.id)
            if not worst.part <= 1.0:
                row.failures.append(f"{sample.id}: {kind} {position} is {worst.part:.3g} times the allowed error")
            if value.dtype != peer.dtype:
                row.failures.append(f"{sample.id}: {kind} {position} is {value.dtype}, stock torch's {peer.dtype}")
            if worst.part >= getattr(row, kind).part:
                setattr(row, kind, worst)
    if not all(map(_same_bits, sum(found, []), sum(again, []))):
        row.repeats = False
        row.failures.append(f"{sample.id}: two runs differ")


def _compare(value, expected, peer, allowed: Error, sample: str) -> Worst:
    ours, usual = Error.of(value, expected), Error.of(peer, expected)
    part = max(_part(ours.frobenius, allowed.frobenius), _part(ours.largest, allowed.largest))
    return Worst(ours.frobenius, usual.frobenius, part, sample)


def _part(error: float, allowed: float) -> float:
    """Where stock torch itself is infinitely wrong (a non-finite value in another place), nothing can be asked."""
    return error / allowed if math.isfinite(allowed) else 0.0


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(torch.isnan(one), torch.isnan(other)) and torch.equal(one.nan_to_num(), other.nan_to_num())


def _can_run(spec: OpSpec, sample: Sample, target: Target, dtype: torch.dtype) -> bool:
    if target.backend == STOCK_BACKEND:
        return True
    call = sample.make(Maker(dtype, target.device))
    operation, args, _ = reached_by(spec.function, *call.args, **call.kwargs)
    return next(row for row in operation.table if row.name == target.backend).supports(*args)[0]


@contextlib.contextmanager
def _running_on(target: Target) -> Iterator[None]:
    module = _extension._C
    before = module.isa() if module and target.isa else None
    if before:
        module.set_isa(target.isa)
    try:
        with nnzoo_fast.backend(target.backend):
            yield
    finally:
        if before:
            module.set_isa(before)


@contextlib.contextmanager
def _poisoned_memory() -> Iterator[None]:
    """New tensors start as NaN, so that a result that was never written can't pass."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def short(dtype: torch.dtype) -> str:
    """`"float32"`."""
    return str(dtype).removeprefix("torch.")
