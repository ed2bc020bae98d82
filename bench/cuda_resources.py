"""What each CUDA kernel takes of a multiprocessor: registers, stack, static shared memory.

    python bench/cuda_resources.py            writes bench/cuda_resources.json
    python bench/cuda_resources.py conv       reads one source's kernels again and keeps the rest
    python bench/cuda_resources.py --check    compares with it

Reads the objects that `make build` has left with cuobjdump, which the CUDA toolkit and Triton's wheel bring. Spilled
registers lie on the stack, so a kernel whose stack is 0 spills nothing. On sm_90a, shared memory has in it the 1024
bytes that the system takes of every block that uses any. The table is of one compiler; a comparison says so where
another one is installed. Needs c++filt, no GPU.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from build_support.toolchain import ask, find_nvcc  # noqa: E402

TABLE = ROOT / "bench/cuda_resources.json"
ARCH = re.compile(r"^arch = (sm_\w+)")
FUNCTION = re.compile(r"^\s*Function (\S+):$")
USED = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")


def cuobjdump() -> str | None:
    """The path of a cuobjdump, or None."""
    if found := shutil.which("cuobjdump") or shutil.which("/usr/local/cuda/bin/cuobjdump"):
        return found
    triton = importlib.util.find_spec("triton")
    folders = triton.submodule_search_locations if triton else ()
    return next(filter(None, (shutil.which(f"{folder}/backends/nvidia/bin/cuobjdump") for folder in folders)), None)


def sources() -> dict[str, Path]:
    """Each `.cu` file by the name that it has in the table."""
    return {path.stem.removesuffix("_cuda"): path for path in sorted((ROOT / "csrc/ops").glob("*/*_cuda.cu"))}


def built(source: Path) -> Path | None:
    """The newest object of a source in the build folder, if it is newer than the source."""
    pattern = f"*/cuda/{source.relative_to(ROOT).with_suffix('.o')}"
    newest = max((ROOT / "build/ninja").glob(pattern), key=lambda path: path.stat().st_mtime, default=None)
    return newest if newest and newest.stat().st_mtime >= source.stat().st_mtime else None


def missing() -> str | None:
    """Why nothing can be measured here, or None."""
    if cuobjdump() is None or shutil.which("c++filt") is None:
        return "needs cuobjdump, which the CUDA toolkit or Triton's wheel brings, and c++filt"
    if find_nvcc() is None:
        return "needs nvcc and the kernels that it builds"
    stale = [name for name, source in sources().items() if built(source) is None]
    return f"needs a build (make build) that is newer than {', '.join(stale)}" if stale else None


def compiler_version() -> str:
    return re.search(r"V([\d.]+)", ask(find_nvcc(), "--version")).group(1)


def measure(source: Path) -> dict[str, dict[str, dict[str, int]]]:
    """{kernel: {arch: {"registers", "stack", "shared", "local"}}} of one `.cu` file."""
    return parse(ask(cuobjdump(), "-res-usage", str(built(source))))


def parse(output: str) -> dict[str, dict[str, dict[str, int]]]:
    """The table of one listing."""
    table, arch, kernel = {}, "", ""
    for line in output.splitlines():
        if found := ARCH.match(line):
            arch = found.group(1)
        elif found := FUNCTION.match(line):
            kernel = found.group(1)
        elif found := USED.search(line):
            numbers = zip(("registers", "stack", "shared", "local"), map(int, found.groups()), strict=True)
            table.setdefault(kernel, {})[arch] = dict(numbers)
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
    found = sources()
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
    """A line per kernel and architecture that keeps something in local memory, as spilled registers are."""
    return [
        f"{op}: {kernel} on {arch}: {numbers}"
        for op, table in kernels.items()
        for kernel, archs in table.items()
        for arch, numbers in archs.items()
        if numbers["stack"] or numbers["local"]
    ]


def write(table: Path, found: dict) -> int:
    """Writes what was found to `table`, a line for each kernel and architecture; the exit status."""
    text = re.sub(r"[{\[][^{}\[\]]*[}\]]", lambda leaf: " ".join(leaf.group().split()), json.dumps(found, indent=1))
    table.write_text(text + "\n")
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
    if reason := missing():
        print(reason)
        return 1
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
