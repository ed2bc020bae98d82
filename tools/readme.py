"""Writes the generated tables of the READMEs, what runs where and how fast. `--check` only says if they are current.

    python tools/readme.py [--check]

The table of backends asks the operations themselves; the CUDA kernels answer through the emulator and the Triton
kernels through the interpreter, so that the table does not depend on a GPU. The tables of speeds show of each operation
the newest file in bench/results that has it, written by `nnzoo-fast bench`, those of models the newest
`...-models.json`, written by `nnzoo-fast bench models`, and the ladders in the operations' READMEs
show the newest one in bench/results/ladder, written by `nnzoo-fast bench --ladder --no-compile`. What CUDA kernels ask
of memory comes from bench/cuda_counters.json, which bench/cuda_counters.py wrote.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton

import torch

from nnzoo_fast.benchmark.model_cases import LIBRARIES
from nnzoo_fast.benchmark.report import duration
from nnzoo_fast.explain import reached_by
from nnzoo_fast.spec import Maker, OpSpec, all_specs

ROOT = Path(__file__).resolve().parent.parent
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
SHOWN = {"cpu": "cpu", "cuda": "cuemu", "triton": "triton"}
"""For each backend that the table shows, the one that answers for it here."""


def backends_table() -> str:
    """Operation by backend by dtype; a cell is empty where stock torch runs instead."""
    rows = [
        [f"`{name}`", backend, *("yes" if _supports(spec, answering, dtype) else "" for dtype in DTYPES)]
        for name, spec in sorted(all_specs().items())
        for backend, answering in SHOWN.items()
        if answering in {row.name for row in _operation(spec).table}
    ]
    return _markdown(["op", "backend", *(str(dtype).removeprefix("torch.") for dtype in DTYPES)], rows)


def _operation(spec: OpSpec):
    call = spec.samples[0].make(Maker())
    return reached_by(spec.function, *call.args, **call.kwargs)[0]


def _supports(spec: OpSpec, backend: str, dtype: torch.dtype) -> bool:
    call = spec.samples[0].make(Maker(dtype))
    operation, args, _ = reached_by(spec.function, *call.args, **call.kwargs)
    return next(row for row in operation.table if row.name == backend).supports(*args)[0]


def speed_overview() -> str:
    """A line per operation and work: against stock torch and the best peer, over all its cases with cold caches."""
    tables = []
    for content, rows in newest_rows():
        groups: dict[tuple[str, str], list[dict]] = {}
        for row in rows:
            is_layer = not row["name"].isidentifier()  # timed with hot caches, as it is called
            if is_layer or row["cache"] == "cold":
                shown = f"{row['name']} ({row['case']})" if is_layer else f"`{row['name']}`"
                groups.setdefault((shown, row["work"]), []).append(row)
        lines = [
            [shown, work, str(len(group)), *map(_over_cases, _both_ratios(group))]
            for (shown, work), group in groups.items()
        ]
        headers = ["op or layer", "work", "cases", "times as fast as stock torch", "as the best peer"]
        tables.append(f"{_where(content)}\n\n{_markdown(headers, lines)}")
    return "\n\n".join(tables) or _NOTHING


def _both_ratios(rows: Sequence[dict]) -> tuple[list[float], list[float]]:
    against_stock = [row["ratios"]["eager"]["median"] for row in rows if "eager" in row["ratios"]]
    return against_stock, [row["ratio"]["median"] for row in rows]


def _over_cases(ratios: Sequence[float]) -> str:
    """Geometric mean and, in brackets, the least and the greatest."""
    if not ratios:
        return ""
    mean = f"{statistics.geometric_mean(ratios):.2f}"
    return mean if len(ratios) == 1 else f"{mean} ({min(ratios):.2f} to {max(ratios):.2f})"


def speed_table(operation: str) -> str:
    """Every measurement of an operation in its newest result, losses included."""
    results = newest_rows(operation)
    if not results:
        return _NOTHING
    ((content, rows),) = results
    headers = ["case", "work", "caches", "time", "speed", "of roof"]
    headers += [*(f"/ {shown}" for shown in _SHOWN_PEERS.values()), "best peer", "/ it"]
    return f"{_where(content)}\n\n{_markdown(headers, [_speed(row) for row in rows])}"


def newest_rows(operation: str | None = None) -> list[tuple[dict, list[dict]]]:
    """The files of bench/results, newest first, each with those rows whose operation is in no newer one."""
    seen: set[str] = set()
    found = []
    for content in _results("bench/results", _of_operations):
        fresh = [row for row in content["rows"] if row["name"] not in seen and operation in (None, row["name"])]
        seen.update(row["name"] for row in content["rows"])
        if rows := [row for row in fresh if row["ratio"]]:
            found.append((content, rows))
    return found


def _results(folder: str, wanted: Callable[[str], bool] = lambda name: True) -> list[dict]:
    """The files of a folder; their names begin with a date, the newest comes first."""
    paths = sorted((ROOT / folder).glob("*.json"), key=lambda path: path.name, reverse=True)
    return [json.loads(path.read_text()) for path in paths if wanted(path.name)]


def _of_models(name: str) -> bool:
    """Whether a file of bench/results was written by `nnzoo-fast bench models`."""
    return name.endswith("-models.json")


def _of_operations(name: str) -> bool:
    return not _of_models(name)


def models_table(library: str) -> str:
    """A line per model of a library ("" for ours): medians of stock torch, and how many times as fast ours is."""
    content = next(iter(_results("bench/results", _of_models)), {"rows": []})
    models: dict[str, dict[str, dict]] = {}
    for row in content["rows"]:
        if row["name"].startswith(f"{library}: " if library else "ours: "):
            models.setdefault(row["name"].split(": ", 1)[1], {})[f"{row['work']} {row['case']}"] = row
    if not models:
        return _NOTHING
    lines = [
        [
            model,
            *(cell for work in ("forward", "training") for cell in _model_cells(rows, work, compiled=not library)),
        ]
        for model, rows in models.items()
    ]
    headers = ["model"]
    for work, candidates in (("inference", ["accelerated", "packed"]), ("training step", ["accelerated"])):
        headers += [f"{work}, stock torch", *candidates, *(["of `torch.compile`"] if not library else [])]
    return f"{_where(content)}\n\n{_markdown(headers, lines)}"


def _model_cells(rows: dict[str, dict], work: str, compiled: bool) -> list[str]:
    """Stock torch's time and, as multiples of its speed, ours; then that of the best of ours over torch.compile's."""
    candidates = ["nnzoo_fast", "packed"] if work == "forward" else ["nnzoo_fast"]
    found = [rows.get(f"{work} {candidate}") for candidate in candidates]
    counted = [row for row in found if row and row["ratio"]]
    cells = [duration(counted[0]["timings"]["eager"]["median"]) if counted else ""]
    cells += [f"{row['ratios']['eager']['median']:.2f}" if row and row["ratio"] else "" for row in found]
    if compiled:
        best = [row["ratios"]["torch.compile"]["median"] for row in counted if "torch.compile" in row["ratios"]]
        cells.append(f"{max(best):.2f}" if best else "")
    return cells


_NOTHING = "No result has been recorded yet."


def _where(content: dict) -> str:
    machine, roof = content["machine"], content["roofs"]["float32"]
    return (
        f"{machine['cpu']}, {machine['threads']} threads, torch {machine['versions']['torch']}, commit "
        f"{machine['commit']}, {machine['date'][:10]}. Measured roofs: {roof['flops'] / 1e9:.0f} GFLOP/s (float32), "
        f"{roof['bytes'] / 1e9:.0f} GB/s."
    )


def _speed(row: dict) -> list[str]:
    time = row["timings"][row["candidate"]]["median"]
    amount, unit = (row["bytes"], "GB/s") if row["memory_bound"] else (row["flops"], "GFLOP/s")
    part = "" if row["roof_part"] is None else f"{100 * row['roof_part']:.0f} %"
    ratios = [row["ratios"].get(peer) for peer in _SHOWN_PEERS]
    against = [f"{ratio['median']:.2f}" if ratio else "" for ratio in ratios]
    start = [row["case"], row["work"], row["cache"], duration(time), f"{amount / time / 1e9:.3g} {unit}", part]
    return [*start, *against, row["peer"], f"{row['ratio']['median']:.2f}"]


def ladder_table(operation: str) -> str:
    """A line per rung and peer, a column per case: median time and, in brackets, times as fast as stock torch."""
    content = next(iter(_results("bench/results/ladder")), {"rows": []})
    rows = [row for row in content["rows"] if row["name"] == operation]
    if not rows:
        return _NOTHING
    timings = {row["case"]: row["timings"] for row in rows}
    rungs = dict.fromkeys(name for each in timings.values() for name in each)
    lines = [
        [_SHOWN_PEERS.get(rung, rung), *(_against_stock(each, rung) for each in timings.values())] for rung in rungs
    ]
    note = "Forward, float32, caches cold, candidates in turn; in brackets, times as fast as stock torch."
    return f"{_where(content)} {note}\n\n{_markdown(['rung', *timings], lines)}"


_SHOWN_PEERS = {"eager": "stock torch", "torch.compile": "`torch.compile`"}


def _against_stock(timings: dict, rung: str) -> str:
    if rung not in timings:
        return ""
    time = timings[rung]["median"]
    return f"{duration(time)} ({timings['eager']['median'] / time:.2g}x)"


def counters_table(operation: str) -> str:
    """A line per kernel and call: what it asks of memory, from bench/cuda_counters.json."""
    content = json.loads((ROOT / "bench/cuda_counters.json").read_text())
    rows = [
        [
            call,
            f"`{kernel.replace('__nv_bfloat16', 'bf16')}`",
            counts["rungs"],
            *(_number(counts[name]) for name in ("load_sectors", "store_sectors", "bank_ways")),
            f"{counts['moved'] / 1024:.0f} KB",
            f"{counts['moved'] / max(counts['compulsory'], 1):.1f}",
            f"{100 * counts['active_lanes']:.0f} %",
        ]
        for call, kernels in content["operations"].get(operation, {}).items()
        for kernel, counts in kernels.items()
    ]
    headers = ["call", "kernel", "rungs", "sectors a load", "a store", "bank ways", "moved", "of compulsory", "lanes"]
    note = (
        "Counted by the emulator's checker (`python bench/cuda_counters.py`), forward and backward: 32-byte sectors "
        "that a request to global memory touches (32 lanes of 4 bytes need 4, of 16 bytes 16), how often a request to "
        "shared memory uses its busiest bank, the bytes of all sectors, caches left out, that as a multiple of the "
        "distinct bytes that the launches touch, and the part of the lanes that takes part in a request."
    )
    return f"{note}\n\n{_markdown(headers, rows)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def pages() -> dict[Path, dict[str, str]]:
    """Every README with generated tables: name and text of each table."""
    libraries = {library: models_table(library) for library in LIBRARIES}
    front = {"backends": backends_table(), "speed": speed_overview(), "models": models_table("")}
    tables = {ROOT / "README.md": front | libraries}
    for name, spec in all_specs().items():
        path = ROOT / "nnzoo_fast" / "ops" / name / "README.md"
        if not path.exists():
            continue
        own = {"speed": speed_table(name)}
        if spec.variants:
            own["ladder"] = ladder_table(name)
        if spec.counted:
            own["counters"] = counters_table(name)
        tables[path] = own
    return tables


def rewritten(text: str, tables: dict[str, str]) -> str:
    """`text` with the content between each pair of markers made anew.

    Raises:
        ValueError: a marker is missing.
    """
    for name, table in tables.items():
        opening, closing = f"<!-- {name}: written by tools/readme.py -->", f"<!-- end of {name} -->"
        text, found = re.subn(
            f"(?<={re.escape(opening)}\n).*?(?={re.escape(closing)})",
            lambda _, t=table: f"\n{t}\n\n",
            text,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"README: expected one pair of markers {opening} ... {closing}, found {found}")
    return text


def main(arguments: Sequence[str]) -> int:
    stale = 0
    for path, tables in pages().items():
        old = path.read_text()
        new = rewritten(old, tables)
        if new == old:
            continue
        if "--check" in arguments:
            stale = 1
            where = path.relative_to(ROOT)
            print(f"{where}: the generated tables are out of date; run `python tools/readme.py`", file=sys.stderr)
        else:
            path.write_text(new)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
