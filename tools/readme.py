"""Writes the generated tables of README.md, what runs where and how fast. `--check` only says whether they are current.

    python tools/readme.py [--check]

The table of backends asks the operations themselves; the CUDA kernels answer through the emulator and the Triton
kernels through the interpreter, so that the table does not depend on a GPU. The table of speeds shows the newest file
in bench/results, which `nnzoo-fast bench` wrote.
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


def speed_table() -> str:
    """Every measurement of the newest result with cold caches, losses included."""
    newest = max((ROOT / "bench" / "results").glob("*.json"), key=lambda path: path.name, default=None)
    if newest is None:
        return "No result has been recorded yet."
    content = json.loads(newest.read_text())
    machine, roof = content["machine"], content["roofs"]["float32"]
    rows = [_speed_row(row) for row in content["rows"] if row["ratio"] and row["cache"] == "cold"]
    where = (
        f"{machine['cpu']}, {machine['threads']} threads, torch {machine['versions']['torch']}, commit "
        f"{machine['commit']}, {machine['date'][:10]}. Measured roofs: {roof['flops'] / 1e9:.0f} GFLOP/s (float32), "
        f"{roof['bytes'] / 1e9:.0f} GB/s."
    )
    headers = ["op", "case", "work", "time", "of roof", "best peer", "times as fast as it"]
    return f"{where}\n\n{_markdown(headers, rows)}"


def _speed_row(row: dict) -> list[str]:
    time = row["timings"][row["candidate"]]["median"]
    shown = f"{time * 1e3:.3g} ms" if time >= 1e-4 else f"{time * 1e6:.3g} us"
    part = f"{100 * row['roof_part']:.0f} %"
    return [f"`{row['name']}`", row["case"], row["work"], shown, part, row["peer"], f"{row['ratio']['median']:.2f}"]


def _markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rewritten(text: str) -> str:
    """`text` with the content between each pair of markers made anew.

    Raises:
        ValueError: a marker is missing.
    """
    for name, table in (("backends", backends_table()), ("speed", speed_table())):
        opening, closing = f"<!-- {name}: written by tools/readme.py -->", f"<!-- end of {name} -->"
        text, found = re.subn(
            f"(?<={re.escape(opening)}\n).*?(?={re.escape(closing)})",
            lambda _, t=table: f"\n{t}\n\n",
            text,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"README.md: expected one pair of markers {opening} ... {closing}, found {found}")
    return text


def main(arguments: Sequence[str]) -> int:
    path = ROOT / "README.md"
    old = path.read_text()
    new = rewritten(old)
    if "--check" in arguments:
        if new != old:
            print("README.md: the generated tables are out of date; run `python tools/readme.py`", file=sys.stderr)
        return int(new != old)
    path.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
