"""Shows and writes what the benchmarks measured: terminal table, JSON, PNG charts and one HTML page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nnzoo_fast.benchmark.ops import COLD, COMPILED, EAGER, ZENTORCH, Row
from nnzoo_fast.benchmark.timing import Timing
from nnzoo_fast.machine import Machine, Roof
from nnzoo_fast.page import Cell, Page, replacing

EVERY_PEER = (EAGER, COMPILED, ZENTORCH)
HEADERS = (
    *("what", "dtype", "work", "caches", "ran on", "time", "speed", "of roof", "memory"),
    *(f"/ {peer}" for peer in EVERY_PEER),
    *("best peer", "ratio"),
)


@dataclass(frozen=True)
class Report:
    """Everything that one run of `nnzoo-fast bench` found out."""

    machine: Machine
    roofs: dict[str, Roof]
    settings: dict
    rows: list[Row]

    @property
    def failed(self) -> list[Row]:
        """Rows whose checks failed, or that could not run at all."""
        return [row for row in self.rows if row.checks or row.ours is None]


def duration(seconds: float) -> str:
    """`"0.123 ms"` with three digits; microseconds below 0.1 ms, seconds from 1 s."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e6:.3g} us" if seconds < 1e-4 else f"{seconds * 1e3:.3g} ms"


def spread(timing: Timing) -> str:
    """Half the distance between the quartiles, in percent of the median."""
    return f"{50 * (timing.high - timing.low) / timing.median:.0f} %"


def speed(row: Row) -> str:
    if row.memory_bound:
        return f"{row.bytes / row.ours.median / 1e9:.3g} GB/s"
    return f"{row.flops / row.ours.median / 1e9:.3g} GFLOP/s"


def cells(row: Row) -> list[str]:
    """A row of the table, in the order of `HEADERS`."""
    start = [f"{row.name} {row.case}", row.dtype, row.work, row.cache, row.ran_on]
    if row.ours is None:
        return _padded([*start, Cell(row.failures[row.candidate], "bad")], "")
    time = f"{duration(row.ours.median)} ± {spread(row.ours)}"
    if row.checks:
        return _padded([*start, time], Cell("checks fail", "bad"))
    part = "" if row.roof_part is None else f"{100 * row.roof_part:.0f} %"
    start += [time, speed(row), part, memory(row)]
    if row.ratio is None:
        return [*_padded(start, "")[:-2], "none", ""]
    each = [f"{row.ratios[peer].median:.2f}" if peer in row.ratios else "" for peer in EVERY_PEER]
    mark = "good" if row.ratio.low > 1.02 else "bad" if row.ratio.high < 0.98 else ""
    return [*start, *each, row.peer, Cell(f"{row.ratio.median:.2f}", mark)]


def _padded(cells: list[str], last: str) -> list[str]:
    return [*cells, *[""] * (len(HEADERS) - len(cells) - 1), last]


def memory(row: Row) -> str:
    """What one call takes at most, and stock torch's: `"12 / 34 MB"`."""
    both = [row.memory.get(name) for name in (row.candidate, EAGER)]
    return "" if None in both else f"{both[0] / 1e6:.3g} / {both[1] / 1e6:.3g} MB"


def summary(report: Report) -> str:
    """The outcome in one sentence, losses included."""
    counted = [row for row in report.rows if row.ratio]
    if not counted:
        return "Nothing was measured against a peer."
    slower = [row for row in counted if row.ratio.high < 0.98]
    mean = math.exp(sum(math.log(row.ratio.median) for row in counted) / len(counted))
    return (
        f"{len(counted)} measurements: {mean:.2f} times as fast as the best peer in the geometric mean; slower in "
        f"{len(slower)}."
    )


def write(report: Report, folder: Path) -> list[Path]:
    """Writes bench.json, roofline.png, ratios.png and index.html, each as a whole or not at all."""
    from nnzoo_fast import charts

    paths = [folder / name for name in ("bench.json", "ratios.png", "roofline.png", "index.html")]
    with replacing(paths[0]) as temporary:
        temporary.write_text(as_json(report))
    page = Page("nnzoo_fast benchmark", summary(report))
    page.paragraph(str(report.machine), note=True)
    if bars := _ratio_bars(report.rows):
        figure = charts.ratios(bars, "speed relative to the best peer (median and quartiles over rounds)")
        charts.save_png(figure, paths[1])
        page.heading("Against the best peer")
        page.figure(charts.svg(figure), "Right of 1: nnzoo_fast is faster. Left of 1: the peer is.")
    dtype, roof = next(iter(report.roofs.items()))
    if points := roofline_points(report.rows, dtype):
        figure = charts.roofline(roof, points)
        charts.save_png(figure, paths[2])
        page.heading("Under the roof of this machine")
        page.figure(charts.svg(figure), f"Forward calls in {dtype}, caches cold; the roof was measured in this run.")
    page.heading("Every measurement")
    page.table(HEADERS, [cells(row) for row in report.rows])
    page.paragraph(
        "Candidates take turns in every round; a ratio is the median over rounds. Time: median; ±: half the distance "
        "of the quartiles. Caches: cold means that inputs rotate through more memory than the last-level cache holds. "
        "Of roof: the least possible time (operations over measured peak, compulsory bytes over measured bandwidth) as "
        "part of ours. Gradients count as twice the forward work. Memory: what one call holds at most beyond what it "
        "was given, ours / stock torch's. Recurrent operations have no column of torch.compile, which runs torch's own "
        "operator as it is.",
        note=True,
    )
    page.heading("First calls")
    page.table(*_first_calls(report.rows))
    page.write(paths[3])
    return [path for path in paths if path.exists()]


def _ratio_bars(rows: Sequence[Row]) -> dict[str, tuple[float, float, float]]:
    counted = [row for row in rows if row.ratio]
    several = len({row.dtype for row in counted}) > 1

    def label(row: Row) -> str:
        parts = [row.name, row.case, row.work, row.cache if row.memory_bound else "", row.dtype if several else ""]
        return " ".join(filter(None, parts)) + f" vs {row.peer}"

    return {label(row): (row.ratio.low, row.ratio.median, row.ratio.high) for row in counted}


def roofline_points(rows: Sequence[Row], dtype: str) -> dict[str, list[tuple[str, float, float]]]:
    """Series of (case, FLOP per byte, FLOP/s): stock torch, torch.compile and ours."""
    series: dict[str, list[tuple[str, float, float]]] = {}
    for row in rows:
        if row.dtype != dtype or row.work != "forward" or row.cache != COLD or row.checks or not row.flops:
            continue
        for shown, name in ((f"stock torch ({EAGER})", EAGER), (row.candidate, row.candidate), (COMPILED, COMPILED)):
            if name in row.timings:
                point = (row.case, row.flops / row.bytes, row.flops / row.timings[name].median)
                series.setdefault(shown, []).append(point)
    return series


def _first_calls(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    names = list(dict.fromkeys(name for row in rows for name in row.timings))
    lines = []
    for row in rows:
        if row.cache == COLD:
            times = [duration(row.timings[name].first) if name in row.timings else "" for name in names]
            lines.append([f"{row.name} {row.case} {row.dtype} {row.work}", *times])
    return ["first call of a process", *names], lines


def as_json(report: Report) -> str:
    """Single samples are left out: medians, quartiles and first calls stay."""

    def plain(row: Row) -> dict:
        fields = asdict(row)
        for timing in fields["timings"].values():
            timing["rounds"] = len(timing.pop("samples"))
        return fields

    content = {
        "machine": report.machine.as_dict(),
        "roofs": {name: asdict(roof) for name, roof in report.roofs.items()},
        "settings": report.settings,
        "rows": [plain(row) for row in report.rows],
    }
    return json.dumps(content, indent=1) + "\n"
