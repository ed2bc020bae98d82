"""What a run of kernels brought to light, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace

KINDS = ("race", "out_of_bounds", "uninitialized", "misaligned", "deadlock", "missing_wait", "exited_lane")
FAILED = "failed"  # beside those: __trap, a failed assertion, a crash that is none of them


@dataclass(frozen=True)
class Finding:
    """One mistake: `kind` is one of `KINDS` or "failed".

    `file` and `line` say where; they are "" and 0 where nobody knows. `count` says how often it happened, `block` and
    `thread` who did it first, `other` where the second access of a race or a wait stands: {"file": ..., "line": ...}.
    """

    kind: str
    file: str
    line: int
    message: str
    kernel: str = ""
    count: int = 1
    block: list[int] | None = None
    thread: list[int] | None = None
    other: dict | None = None


@dataclass(frozen=True)
class Line:
    """What one line of a kernel asks of memory: `access` is "load" or "store", `space` "global" or "shared".

    `requests` counts what warps send at once; the numbers after it are means over requests. `sectors_per_request` is
    None for shared memory, `bank_ways` for global memory.
    """

    file: str
    line: int
    access: str
    space: str
    requests: int
    active_lanes: float
    bytes: int
    sectors_per_request: float | None
    sectors_needed: float | None
    bank_ways: float | None
    atomic_requests: int


@dataclass(frozen=True)
class Kernel:
    """Sums over all launches of one kernel; csrc/cuemu/check/README.md defines each number."""

    name: str
    launches: int
    bytes_read: int
    bytes_written: int
    compulsory_read: int
    compulsory_written: int
    sector_bytes_read: int
    sector_bytes_written: int
    engine_bytes: int
    load_sectors_per_request: float | None
    store_sectors_per_request: float | None
    bank_ways: float | None
    requests: int
    divergent_requests: int
    active_lane_fraction: float


@dataclass(frozen=True)
class Report:
    """Findings in the order of their first occurrence, and, of a checked run, what was counted."""

    findings: list[Finding] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.findings

    def as_dict(self) -> dict:
        """Plain data, as `--json` prints it."""
        return asdict(self)

    def __str__(self) -> str:
        from rich.console import Console

        from nnzoo_fast.cuemu import table

        console = Console(width=120, color_system=None)
        with console.capture() as captured:
            table.show(self, console)
        return captured.get()


def from_json(data: dict) -> Report:
    """A report from the checker's own JSON."""
    return Report(
        [_made(Finding, entry) for entry in data["findings"]],
        [_made(Line, entry) for entry in data["lines"]],
        [_made(Kernel, entry) for entry in data["kernels"]],
    )


def _made(kind: type, entry: dict):
    return kind(**{item.name: entry[item.name] for item in fields(kind) if item.name in entry})


def merged(reports: Iterable[Report]) -> Report:
    """The reports of the same launches in several schedules: all findings, each once, and the counts of the first."""
    reports = list(reports)
    findings: dict[tuple, Finding] = {}
    for report in reports:
        for finding in report.findings:
            findings.setdefault((finding.kind, finding.file, finding.line), finding)
    return Report(list(findings.values()), reports[0].lines, reports[0].kernels)


def with_files(report: Report, shorter: Callable[[str], str]) -> Report:
    """The report with other file names."""

    def renamed(entry):
        other = getattr(entry, "other", None)
        entry = replace(entry, file=shorter(entry.file))
        return replace(entry, other={**other, "file": shorter(other["file"])}) if other else entry

    return replace(report, findings=list(map(renamed, report.findings)), lines=list(map(renamed, report.lines)))
