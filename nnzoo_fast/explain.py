"""`explain`: what runs for a call, why, and what the other backends would take."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from nnzoo_fast import backends, front_door, operation


@dataclass(frozen=True)
class Row:
    """One backend's answer: `milliseconds` is measured if it was asked for and the backend can run the call."""

    backend: str
    supported: bool
    reason: str
    milliseconds: float | None = None


@dataclass(frozen=True)
class Explanation:
    """Printable answer of `explain`."""

    operation: str
    route: str
    chosen: str
    rows: list[Row] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.operation}: {self.chosen} ({self.route} route)"]
        for row in self.rows:
            mark = "*" if row.backend == self.chosen else " "
            able = "yes" if row.supported else "no"
            spent = "" if row.milliseconds is None else f"{row.milliseconds:10.3f} ms  "
            lines.append(f" {mark} {row.backend:<10} {able:<4} {spent}{row.reason}")
        return "\n".join(lines)


class _Reached(Exception):
    """Leaves the explained call once its operation is known."""


def explain(op: Callable, *args, measure: bool = False, **kwargs) -> Explanation:
    """What runs for `op(*args, **kwargs)`, why, and why not the others.

    Args:
        op: a function of `nnzoo_fast.ops` or `nnzoo_fast.nn.functional`, or a module that calls one; the first
            operation that it reaches is explained.
        measure: also time every backend that can run the call (median of 5 calls each, forward only).

    Raises:
        NotReached: the call reaches no operation of this package.
    """
    found, values, way = reached_by(op, *args, **kwargs)
    chosen = chosen_backend(found, values, way)
    rows = []
    for name, able, _pays, reason in found.verdicts(values):
        timed = measure and able and way is front_door.EAGER
        rows.append(Row(name, able, reason, _milliseconds(found, values, name) if timed else None))
    return Explanation(found.name, way, chosen, rows)


class NotReached(ValueError):
    """A call runs no operation of this package: its function gave it to stock torch as a whole."""


def reached_by(op: Callable, *args, **kwargs) -> tuple[operation.Operation, tuple, str]:
    """The first operation that a call reaches, the arguments of its schema, and its route. Nothing is computed.

    Raises:
        NotReached: the call reaches no operation of this package.
    """
    reached = []

    def record(*call):
        reached.append(call)
        raise _Reached

    with recording(record), contextlib.suppress(_Reached):
        op(*args, **kwargs)
    if not reached:
        raise NotReached(f"{op!r} runs no operation of nnzoo_fast")
    return reached[0]


_one_recording = threading.RLock()


@contextlib.contextmanager
def recording(record: Callable) -> Iterator[None]:
    """Calls `record(operation, args, route)` for every operation that this thread reaches inside the block.

    Other threads compute as ever; those that want to record, too, wait.
    """
    thread = threading.get_ident()

    def record_here(*call):
        if threading.get_ident() == thread:
            record(*call)

    with _one_recording:
        outer = operation._recorder
        operation._recorder = record_here
        try:
            yield
        finally:
            operation._recorder = outer


def chosen_backend(found: operation.Operation, values: tuple, way: str) -> str:
    """The name of the backend that a call with these arguments of the schema runs on when it takes this route."""
    name = backends.requested(found.name)
    if way is front_door.STOCK and name != backends.REFERENCE_BACKEND:
        return backends.STOCK_BACKEND
    if name in (backends.STOCK_BACKEND, backends.REFERENCE_BACKEND):
        return name
    row = found.choose(values, name)
    return backends.STOCK_BACKEND if row is None else row.name


def _milliseconds(found: operation.Operation, values: tuple, name: str) -> float:
    samples = []
    with torch.no_grad():
        found(*values, backend=name)
        for _ in range(5):
            start = time.perf_counter()
            found(*values, backend=name)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            samples.append(time.perf_counter() - start)
    return 1e3 * sorted(samples)[len(samples) // 2]
