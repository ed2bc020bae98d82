"""How long the emulator and its checker take for some kernels that every course on CUDA has.

    python bench/emulator_speed.py        prints the table of csrc/cuemu/README.md

Needs g++ only. A number is the CPU time of the quickest of several runs on one OS thread, so what else the machine does
matters little. Without the checker, blocks would spread over all cores. What a run leaves is compared with numpy's
result.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/cuemu")]

import checked  # noqa: E402
import emulated  # noqa: E402

from nnzoo_fast.cuemu import compiler  # noqa: E402
from nnzoo_fast.machine import cpu_name  # noqa: E402

REPEATS = 7
KERNELS = ("matmul", "rows")


def launches(array: Callable) -> Iterator[tuple[str, Callable[[Callable], None], Callable[[], float]]]:
    """A kernel's label, `go(call)`, which calls its function, and its error then. `array` makes what it works on."""
    rng = np.random.default_rng(0)
    n, rows = 256, 1024
    a, b = (array("input", rng.standard_normal((n, n)).astype(np.float32)) for _ in range(2))
    c = array("c", np.zeros((n, n), np.float32))
    halves = [array("bf16", bfloat16(x)) for x in (a, b.T)]
    x = array("x", rng.standard_normal((rows, rows)).astype(np.float32))
    y = array("y", np.zeros_like(x))
    total = array("total", np.zeros(1, np.float32))
    rounded = [(h.astype(np.uint32) << 16).view(np.float32) for h in halves]
    exponentials = np.exp(x - x.max(1, keepdims=True))

    def sum_of_all(call):
        total[0] = 0
        call("sum_of_all", x, total, x.size)

    yield (
        "product 256^3, 32x32 tiles in shared memory",
        lambda call: call("matmul_tiled", a, b, c, n),
        lambda: largest(c - a @ b),
    )
    yield (
        "product 256^3, 4x4 in registers",
        lambda call: call("matmul_in_registers", a, b, c, n),
        lambda: largest(c - a @ b),
    )
    yield (
        "product 256^3 in bf16, `cp.async`, `ldmatrix`, `mma.sync`",
        lambda call: call("matmul_on_tensor_cores", *halves, c, n, 1),
        lambda: largest(c - rounded[0] @ rounded[1].T),
    )
    yield (
        "softmax of 1024 rows of 1024, shuffles",
        lambda call: call("softmax_of_rows", x, y, rows, rows),
        lambda: largest(y - exponentials / exponentials.sum(1, keepdims=True)),
    )
    yield "sum of 2^20, shuffles and one atomic a block", sum_of_all, lambda: largest(total - x.sum(dtype=float)) / 1000


def largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max())


def bfloat16(x: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(x).view(np.uint32) + 0x8000 >> 16).astype(np.uint16)


def measure(call: Callable, go: Callable[[Callable], None], error: Callable[[], float]) -> float:
    """Milliseconds of CPU time."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        go(call)
        times.append(1e3 * (time.process_time() - start))
    if not error() < 1e-3:
        raise RuntimeError(f"wrong by {error()}")
    return min(times)


def executed(folder: Path) -> dict[str, float]:
    os.environ["CUEMU_THREADS"] = "1"
    library = emulated.Library(folder / "libkernels.so")
    found = launches(lambda name, values: np.ascontiguousarray(values))
    return {label: measure(lambda name, *args: getattr(library, name)(*args), *rest) for label, *rest in found}


def under_the_checker(folder: Path) -> dict[str, float]:
    library = checked.Library(folder / "libchecked.so")
    library.begin()

    def call(name, *args):
        if problem := library.call(name, *args):
            raise RuntimeError(problem)

    found = {label: measure(call, *rest) for label, *rest in launches(library.array)}
    if findings := library.end()["findings"]:
        raise RuntimeError(findings[0])
    return found


def main() -> None:
    runtime = [path for path in compiler.runtime_objects() if not path.name.startswith("cuemu-command-")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        emulated.compile_library(folder, runtime, " ".join(KERNELS))
        sources = [ROOT / f"tests/cuemu/{name}.cu" for name in KERNELS]
        checked.build(folder, runtime, sources, [ROOT / "tests/cuemu"])
        columns = [executed(folder), under_the_checker(folder)]
    print(f"{cpu_name()}, milliseconds\n")
    print("| kernel | executed | under the checker |\n| --- | --- | --- |")
    for label in columns[0]:
        print(f"| {label} | {' | '.join(f'{column[label]:.1f}' for column in columns)} |")


if __name__ == "__main__":
    main()
