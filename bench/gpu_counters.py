"""The checker's counts of memory traffic against those of Nsight Compute on a GPU, for bench/gpu_check.py.

One process under `ncu` runs every rung's `counted` calls, in the order of bench/cuda_counters.json; before each it
launches a kernel of torch, by which the launches in ncu's listing are told apart.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "bench/cuda_counters.json"
MARKER = "spin_kernel"  # what torch.cuda._sleep launches

_GLOBAL = "l1tex__t_{}_pipe_lsu_mem_global_op_{}.sum"
_CONFLICTS = "l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum"
METRICS = [_GLOBAL.format(what, op) for op in ("ld", "st") for what in ("sectors", "requests")] + [_CONFLICTS]
CLOSE = 0.1  # nvcc keeps other values in registers than g++, so not every load is the other one's

SCRIPT = """
import sys; sys.path[:0] = {paths!r}
import torch, nnzoo_fast
from nnzoo_fast.spec import Maker, all_specs, run_with_gradients
specs = all_specs()
for operation, sample_id, dtype, rung in {calls!r}:
    sample = next(sample for sample in specs[operation].counted if sample.id == sample_id)
    call = sample.make(Maker(getattr(torch, dtype), "cuda"))
    torch.cuda._sleep(1)
    with nnzoo_fast.backend(**{{operation: rung}}):
        run_with_gradients(specs[operation].function, call)
torch.cuda.synchronize()
"""


def tool() -> str | None:
    return shutil.which("ncu") or shutil.which("/usr/local/cuda/bin/ncu")


def calls(table: dict) -> list[tuple[str, str, str, str]]:
    """(operation, call, dtype, rung) of everything in the table of counters."""
    found = {}
    for operation, by_call in table["operations"].items():
        for call, kernels in by_call.items():
            sample, _, dtype = call.rpartition(", ")
            for counts in kernels.values():
                found.update({(operation, sample, dtype, rung): None for rung in counts["rungs"].split(", ")})
    return list(found)


def measure(table: dict, timeout: float) -> str:
    """What ncu prints.

    Raises:
        RuntimeError: it fails, for want of a permission for example.
        subprocess.TimeoutExpired: it takes too long.
    """
    script = SCRIPT.format(paths=[str(ROOT), str(ROOT / "tests")], calls=calls(table))
    options = ["--csv", "--page", "raw", "--kernel-name-base", "mangled", "--kernel-name", f"regex:nnzoo|{MARKER}"]
    command = [tool(), *options, "--metrics", ",".join(METRICS), sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=ROOT)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-2000:])
    return done.stdout


def parse(listing: str) -> list[dict[str, dict[str, float]]]:
    """For each call {kernel: {metric: sum over its launches}}. The line after the headers holds units."""
    lines = [line for line in listing.splitlines() if line.startswith('"')]
    found = []
    for row in list(csv.DictReader(io.StringIO("\n".join(lines))))[1:]:
        if MARKER in row["Kernel Name"]:
            found.append({})
            continue
        sums = found[-1].setdefault(plain(row["Kernel Name"]), dict.fromkeys(METRICS, 0.0))
        for metric in METRICS:
            sums[metric] += float(row[metric].replace(",", "") or 0)
    return found


def plain(name: str) -> str:
    """A kernel's name as both demanglers write it: no return type, parameters and shared namespaces, constants as
    numbers."""
    name = re.sub(r"nnzoo::|cuda::|<unnamed>::|\(anonymous namespace\)::|\((?:unsigned )?(?:int|bool|long)\)", "", name)
    name = re.sub(r"\btrue\b", "1", re.sub(r"\bfalse\b", "0", name)).removeprefix("void ")
    depth = 0
    for place, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            name = name[:place]
            break
    return name.replace(" ", "")


def compare(table: dict, measured: list[dict[str, dict[str, float]]]) -> dict:
    """`rows`: both counts of each kernel of each call. `differ`: a line for those that are further apart than CLOSE.
    `failures`: the two don't list the same calls or kernels."""
    order = calls(table)
    if len(measured) != len(order):
        return {"failures": [f"ncu saw {len(measured)} calls, the table has {len(order)}"]}
    rows, differ, failures = [], [], []
    for (operation, sample, dtype, rung), kernels in zip(order, measured, strict=True):
        expected = {
            plain(re.sub(r" \(\d+\)$", "", kernel)): counts
            for kernel, counts in table["operations"][operation][f"{sample}, {dtype}"].items()
            if rung in counts["rungs"].split(", ")
        }
        where = f"{operation}, {sample}, {dtype}, {rung}"
        if set(expected) != set(kernels):
            failures.append(f"{where}: kernels {sorted(set(expected) ^ set(kernels))} ran on one side only")
        for kernel in sorted(set(expected) & set(kernels)):
            checker = {name: expected[kernel][name] for name in ("load_sectors", "store_sectors", "bank_ways")}
            gpu = of_gpu(kernels[kernel])
            rows.append({"call": where, "kernel": kernel, "checker": checker, "gpu": gpu})
            for name in ("load_sectors", "store_sectors"):
                one, other = checker[name] or 0, gpu[name] or 0
                if abs(one - other) > CLOSE * max(one, other):
                    differ.append(f"{where}, {kernel}: {name} {one} by the checker, {other} by ncu")
    return {"rows": rows, "differ": differ, "failures": failures}


def of_gpu(sums: dict[str, float]) -> dict[str, float | None]:
    """Sectors per request; bank conflicts are sums, as ncu counts them: 0 where the checker's ways are 1."""

    def mean(op):
        requests = sums[_GLOBAL.format("requests", op)]
        return round(sums[_GLOBAL.format("sectors", op)] / requests, 2) if requests else None

    return {"load_sectors": mean("ld"), "store_sectors": mean("st"), "bank_conflicts": sums[_CONFLICTS]}


def nsight(check) -> dict:
    """The step of gpu_check.py."""
    if tool() is None:
        return {"skipped": "Nsight Compute (ncu) is not installed"}
    table = json.loads(TABLE.read_text())
    try:
        return compare(table, parse(measure(table, max(1.0, check.left()))))
    except subprocess.TimeoutExpired:
        return {"unfinished": "ncu did not end in time"}
