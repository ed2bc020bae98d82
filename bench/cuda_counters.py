"""What each CUDA kernel asks of memory, as the emulator's checker counts it: sectors and bank ways per request, bytes
moved and bytes that had to move, lanes that took part.

    python bench/cuda_counters.py            writes bench/cuda_counters.json
    python bench/cuda_counters.py conv       counts one operation's kernels again and keeps the rest
    python bench/cuda_counters.py --check    compares with it

Runs every rung of every operation's ladder, forward and backward, on the `counted` calls of its spec. The counts are of
the code that g++ makes of the kernels, so the table is of one version of it; a comparison says so where another one is
installed. Needs no GPU and no nvcc.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import checked_tensors  # noqa: E402
import torch  # noqa: E402

import nnzoo_fast  # noqa: E402
from bench.cuda_resources import write  # noqa: E402
from build_support.settings import Settings  # noqa: E402
from build_support.toolchain import ask, find_cxx  # noqa: E402
from nnzoo_fast.cuemu import operations  # noqa: E402
from nnzoo_fast.explain import reached_by  # noqa: E402
from nnzoo_fast.spec import Maker, OpSpec, Sample, all_specs, run_with_gradients  # noqa: E402

TABLE = ROOT / "bench/cuda_counters.json"
DTYPES = (torch.float32, torch.bfloat16)


def compiler_version() -> str:
    """The g++ that has built the kernels in check mode, its major and minor number."""
    return re.match(r"\d+\.\d+", ask(*find_cxx(Settings.from_environment().cxx), "-dumpfullversion")).group()


def rungs(spec: OpSpec, sample: Sample, dtype: torch.dtype) -> list[tuple[str, str]]:
    """(operation, row of its table) for each rung of the ladder on CUDA that takes this call."""
    call = sample.make(Maker(dtype))
    operation, args, _ = reached_by(spec.function, *call.args, **call.kwargs)
    rows = [row for row in operation.table if re.match("cuemu($|_)", row.name)]
    return [(operation.name, row.name) for row in rows if row.supports(*args)[0]]


def count(module, spec: OpSpec, sample: Sample, dtype: torch.dtype, operation: str, rung: str) -> dict[str, dict]:
    """{kernel: numbers} of one call, forward and backward.

    Raises:
        RuntimeError: the checker finds something.
    """
    before = os.environ.get("CUEMU_ORDER")
    os.environ["CUEMU_ORDER"] = "forward"
    try:
        session = operations.Session(module)
        with session.open(), nnzoo_fast.backend(**{operation: rung}):
            run_with_gradients(spec.function, sample.make(Maker(dtype)))
    finally:
        del os.environ["CUEMU_ORDER"]
        if before is not None:
            os.environ["CUEMU_ORDER"] = before
    if session.report["findings"]:
        raise RuntimeError(f"{spec.name}, {rung}, {sample.id}, {dtype}: {session.report['findings'][0]}")
    return {readable(kernel["name"]): numbers(kernel) for kernel in session.report["kernels"]}


def readable(name: str) -> str:
    """A kernel's name as in the source, without the namespaces that all share."""
    return re.sub(r"nnzoo::|cuda::|\(anonymous namespace\)::|\{anonymous\}::", "", name)


def numbers(kernel: dict) -> dict:
    """What the table holds of the checker's counts."""

    def mean(value):
        return None if value is None else round(value, 2)

    return {
        "launches": kernel["launches"],
        "load_sectors": mean(kernel["load_sectors_per_request"]),
        "store_sectors": mean(kernel["store_sectors_per_request"]),
        "bank_ways": mean(kernel["bank_ways"]),
        "moved": kernel["sector_bytes_read"] + kernel["sector_bytes_written"],
        "compulsory": kernel["compulsory_read"] + kernel["compulsory_written"],
        "engine": kernel["engine_bytes"],
        "divergent": mean(kernel["divergent_requests"] / max(kernel["requests"], 1)),
        "active_lanes": mean(kernel["active_lane_fraction"]),
    }


def measure(module, names: tuple[str, ...] = ()) -> dict:
    """{operation: {call: {kernel: {"rungs": "cuda, cuda_tiled", ...}}}} of all operations, or of those named."""
    specs = {name: spec for name, spec in sorted(all_specs().items()) if spec.counted}
    found = {}
    for name in names or specs:
        for sample in specs[name].counted:
            for dtype in DTYPES:
                kernels = found.setdefault(name, {}).setdefault(f"{sample.id}, {dtype_name(dtype)}", {})
                for operation, rung in rungs(specs[name], sample, dtype):
                    for kernel, counts in count(module, specs[name], sample, dtype, operation, rung).items():
                        add(kernels, kernel, counts, rung.replace("cuemu", "cuda"))
    return found


def add(kernels: dict, kernel: str, counts: dict, rung: str) -> None:
    """A kernel that several rungs launch alike stands in the table once; one that they launch otherwise, again."""
    for number in range(1, 100):
        known = kernels.setdefault(kernel if number == 1 else f"{kernel} ({number})", {"rungs": "", **counts})
        if known == {"rungs": known["rungs"], **counts}:
            known["rungs"] = ", ".join(filter(None, (known["rungs"], rung)))
            return


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def differences(expected: dict, found: dict) -> list[str]:
    """A line for each kernel that is new, gone, or counts differently than the table says, on the calls of `found`."""
    lines = []
    for op, calls in found.items():
        for call, kernels in calls.items():
            before = expected.get(op, {}).get(call, {})
            lines += [
                f"{op}, {call}, {kernel}: {before.get(kernel)} in the table, now {kernels.get(kernel)}"
                for kernel in sorted(before | kernels)
                if before.get(kernel) != kernels.get(kernel)
            ]
    return lines


def main() -> int:
    names = tuple(name for name in sys.argv[1:] if name != "--check")
    found = {"g++": compiler_version(), "operations": measure(checked_tensors.build(), names)}
    if "--check" not in sys.argv[1:]:
        if names:
            found["operations"] = json.loads(TABLE.read_text())["operations"] | found["operations"]
        return write(TABLE, found)
    table = json.loads(TABLE.read_text())
    if table["g++"] != found["g++"]:
        print(f"the table is of g++ {table['g++']}, this is {found['g++']}: not compared")
        return 0
    problems = differences(table["operations"], found["operations"])
    print("\n".join(problems) or "as in the table")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
