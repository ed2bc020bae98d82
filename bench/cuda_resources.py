"""What each CUDA kernel takes of a multiprocessor, as nvcc reports it: registers, spilled bytes, static shared memory.

    python bench/cuda_resources.py            writes bench/cuda_resources.json
    python bench/cuda_resources.py conv       measures one source again and keeps the rest
    python bench/cuda_resources.py --check    compares with it

The table is of one compiler; a comparison says so where another one is installed. Needs nvcc and c++filt, no GPU.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from build_support.toolchain import ask, find_nvcc  # noqa: E402

TABLE = ROOT / "bench/cuda_resources.json"
ARCHS = ("80", "90a")
ENTRY = re.compile(r"Compiling entry function '(\S+)' for 'sm_(\w+)'")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")


def sources() -> list[Path]:
    return sorted((ROOT / "csrc/ops").glob("*/*_cuda.cu"))


def compiler_version() -> str:
    return re.search(r"V([\d.]+)", ask(find_nvcc(), "--version")).group(1)


def measure(source: Path) -> dict[str, dict[str, dict[str, int]]]:
    """{kernel: {arch: {"registers", "spill_stores", "spill_loads", "stack", "shared"}}} of one `.cu` file."""
    targets = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in ARCHS]
    with tempfile.TemporaryDirectory() as directory:
        command = [find_nvcc(), "-std=c++17", "-O3", "-DNDEBUG", *targets, f"-I{ROOT / 'csrc'}", "-Xptxas", "-v"]
        output = ask(*command, "-c", str(source), "-o", f"{directory}/kernels.o")
    return parse(output)


def parse(output: str) -> dict[str, dict[str, dict[str, int]]]:
    """The table of one compiler log."""
    table = {}
    for line in output.splitlines():
        if entry := ENTRY.search(line):
            numbers = table.setdefault(entry.group(1), {}).setdefault(f"sm_{entry.group(2)}", {})
        elif spills := SPILLS.search(line):
            numbers.update(zip(("stack", "spill_stores", "spill_loads"), map(int, spills.groups()), strict=True))
        elif used := USED.search(line):
            numbers.update(registers=int(used.group(1)), shared=int(used.group(2) or 0))
    names = readable(list(table))
    return {names[mangled]: dict(sorted(archs.items())) for mangled, archs in table.items()}


def readable(mangled: list[str]) -> dict[str, str]:
    """Kernel names as in the source: without return type, parameters and the namespaces that all share."""
    lines = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True).stdout
    names = {}
    for name, line in zip(mangled, lines.splitlines(), strict=True):
        line = line.removeprefix("void ").replace("(anonymous namespace)::", "")
        line = line.replace("nnzoo::", "").replace("cuda::", "")
        names[name] = line[: line.rindex("(")] if line.endswith(")") else line
    return names


def measure_all(names: tuple[str, ...] = ()) -> dict:
    """The table of all sources, or of those named."""
    found = {source.stem.removesuffix("_cuda"): source for source in sources()}
    kernels = {name: dict(sorted(measure(found[name]).items())) for name in names or found}
    return {"nvcc": compiler_version(), "kernels": kernels}


def differences(expected: dict, found: dict) -> list[str]:
    """A line per kernel that is new, gone, or takes something else than the table says."""
    lines = []
    for op in sorted(expected | found):
        before, now = expected.get(op, {}), found.get(op, {})
        for kernel in sorted(before | now):
            if before.get(kernel) != now.get(kernel):
                lines.append(f"{op}: {kernel}: {before.get(kernel)} in the table, now {now.get(kernel)}")
    return lines


def spilling(kernels: dict) -> list[str]:
    """A line per kernel and architecture that spills registers to memory."""
    return [
        f"{op}: {kernel} on {arch}: {numbers}"
        for op, table in kernels.items()
        for kernel, archs in table.items()
        for arch, numbers in archs.items()
        if numbers["spill_stores"] or numbers["spill_loads"]
    ]


def write(table: Path, found: dict) -> int:
    """Writes what was found to `table`; the exit status."""
    table.write_text(json.dumps(found, indent=1) + "\n")
    print(f"wrote {table.relative_to(ROOT)}")
    return 0


def compare(table: Path, found: dict, problems_of: Callable[[dict, dict], list[str]]) -> int:
    """Prints what differs from `table` if that is of the same compiler; the exit status."""
    expected = json.loads(table.read_text())
    if expected["nvcc"] != found["nvcc"]:
        print(f"the table is of nvcc {expected['nvcc']}, this is {found['nvcc']}: not compared")
        return 0
    problems = problems_of(expected["kernels"], found["kernels"])
    print("\n".join(problems) or "as in the table")
    return bool(problems)


def main() -> int:
    names = tuple(name for name in sys.argv[1:] if name != "--check")
    found = measure_all(names)

    def problems_of(expected: dict, kernels: dict) -> list[str]:
        of_table = {name: numbers for name, numbers in expected.items() if not names or name in names}
        return differences(of_table, kernels) + spilling(kernels)

    if "--check" in sys.argv[1:]:
        return compare(TABLE, found, problems_of)
    if names:
        before = json.loads(TABLE.read_text())["kernels"]
        found["kernels"] = dict(sorted({**before, **found["kernels"]}.items()))
    return write(TABLE, found)


if __name__ == "__main__":
    sys.exit(main())
