"""Writes the generated tables of the READMEs, what runs where and how fast. `--check` only says if they are current.

    python tools/readme.py [--check]

The table of backends asks the operations themselves; the CUDA kernels answer through the emulator and the Triton
kernels through the interpreter, so that the table does not depend on a GPU. The table of speeds shows the newest file
in bench/results, which `nnzoo-fast bench` wrote, and the ladders in the operations' READMEs show the newest one in
bench/results/ladder, which `nnzoo-fast bench --ladder --no-compile` wrote. What CUDA kernels ask of memory comes from
bench/cuda_counters.json, which bench/cuda_counters.py wrote.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton

import torch

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


def speed_table(operation: str | None = None) -> str:
    """Every measurement of the newest result with cold caches, losses included; of one operation, hot caches too."""
    content = newest_result("bench/results")
    if content is None:
        return "No result has been recorded yet."
    measured = [row for row in content["rows"] if row["ratio"]]
    if operation is None:
        headers = ["op", "case", "work", *_SPEED_HEADERS]
        cold = [row for row in measured if row["cache"] == "cold"]
        rows = [[f"`{row['name']}`", row["case"], row["work"], *_speed(row)] for row in cold]
    else:
        headers = ["case", "work", "caches", *_SPEED_HEADERS]
        own = [row for row in measured if row["name"] == operation]
        rows = [[row["case"], row["work"], row["cache"], *_speed(row)] for row in own]
    return f"{_where(content)}\n\n{_markdown(headers, rows)}"


def newest_result(folder: str) -> dict | None:
    """The file of `folder` whose name, which begins with a date, is the last."""
    newest = max((ROOT / folder).glob("*.json"), key=lambda path: path.name, default=None)
    return None if newest is None else json.loads(newest.read_text())


def _where(content: dict) -> str:
    machine, roof = content["machine"], content["roofs"]["float32"]
    return (
        f"{machine['cpu']}, {machine['threads']} threads, torch {machine['versions']['torch']}, commit "
        f"{machine['commit']}, {machine['date'][:10]}. Measured roofs: {roof['flops'] / 1e9:.0f} GFLOP/s (float32), "
        f"{roof['bytes'] / 1e9:.0f} GB/s."
    )


_SPEED_HEADERS = ["time", "of roof", "best peer", "times as fast as it"]


def _speed(row: dict) -> list[str]:
    part = "" if row["roof_part"] is None else f"{100 * row['roof_part']:.0f} %"
    time = _duration(row["timings"][row["candidate"]]["median"])
    return [time, part, row["peer"], f"{row['ratio']['median']:.2f}"]


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-4 else f"{seconds * 1e6:.3g} us"


def ladder_table(operation: str) -> str:
    """A line per rung and peer, a column per case: median time and, in brackets, times as fast as stock torch."""
    content = newest_result("bench/results/ladder")
    rows = [] if content is None else [row for row in content["rows"] if row["name"] == operation]
    if not rows:
        return "No result has been recorded yet."
    timings = {row["case"]: row["timings"] for row in rows}
    rungs = dict.fromkeys(name for each in timings.values() for name in each)
    lines = [
        [_SHOWN_PEERS.get(rung, rung), *(_against_stock(each, rung) for each in timings.values())] for rung in rungs
    ]
    note = "Forward, float32, caches cold, candidates in turn; in brackets, times as fast as stock torch."
    return f"{_where(content)} {note}\n\n{_markdown(['rung', *timings], lines)}"


_SHOWN_PEERS = {"eager": "stock torch"}


def _against_stock(timings: dict, rung: str) -> str:
    if rung not in timings:
        return ""
    time = timings[rung]["median"]
    return f"{_duration(time)} ({timings['eager']['median'] / time:.2g}x)"


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
    tables = {ROOT / "README.md": {"backends": backends_table(), "speed": speed_table()}}
    for name, spec in all_specs().items():
        own = {"ladder": ladder_table(name), "speed": speed_table(name)} if spec.variants else {}
        if spec.counted:
            own["counters"] = counters_table(name)
        if own:
            tables[ROOT / "nnzoo_fast" / "ops" / name / "README.md"] = own
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
