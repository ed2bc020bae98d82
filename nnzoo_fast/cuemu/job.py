"""One command: a file, a launch, its schedules; from the words of the user to a report."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnzoo_fast.cuemu import arguments, build
from nnzoo_fast.cuemu.arguments import Array, Number
from nnzoo_fast.cuemu.errors import UsageError
from nnzoo_fast.cuemu.report import Report, merged, with_files
from nnzoo_fast.cuemu.run import NOT_DONE, Process
from nnzoo_fast.cuemu.shape import Shape, parse

# What is right is right in every schedule; what is wrong may show in one only.
ORDERS = ("forward", "reverse", "random:1")


@dataclass(frozen=True)
class Done:
    """`arrays`: those that the first schedule left, None in the place of a number. `status`: the program's own."""

    report: Report
    arrays: list[np.ndarray | None]
    status: int


@dataclass(frozen=True)
class Job:
    """`kernel` and `shape` are None where the file's main function runs; `words` are then for it."""

    source: build.Source
    kernel: str | None
    arguments: tuple[Number | Array, ...]
    shape: Shape | None
    words: tuple[str, ...]
    orders: tuple[str, ...]
    checked: bool
    timeout: float | None

    @staticmethod
    def of(
        source: build.Source,
        kernel: str | None,
        words: Sequence[str],
        grid: str | None,
        block: str | None,
        shared: int,
        orders: Sequence[str] | None,
        checked: bool,
        timeout: float,
    ) -> Job:
        """A job from the words of the command line.

        Raises:
            UsageError: they make no sense; of a launch, that a GPU would refuse it.
        """
        orders = tuple(orders or (ORDERS if checked else ORDERS[:1]))
        for order in orders:
            check_order(order)
        if not timeout > 0:  # nan, too
            raise UsageError(f"--timeout {timeout:g}: expected a number of seconds above 0")
        if kernel is None:
            if grid or block or shared:
                raise UsageError("--grid, --block and --smem are for a kernel: name it with --kernel")
            return Job(source, None, (), None, tuple(words), orders, checked, timeout)
        if not grid or not block:
            raise UsageError("a kernel needs --grid and --block, such as --grid 4 --block 256")
        shape = Shape.of(parse("grid", grid), parse("block", block), shared)
        return Job(source, kernel, tuple(map(arguments.parse, words)), shape, (), orders, checked, timeout)

    @property
    def title(self) -> str:
        return self.kernel or "main"

    @property
    def how(self) -> str:
        """In words."""
        launch = ""
        if self.shape:
            grid, block = (",".join(map(str, size)) for size in (self.shape.grid, self.shape.block))
            shared = f", {self.shape.shared} bytes of dynamic shared memory" if self.shape.shared else ""
            launch = f", grid {grid}, block {block}{shared}"
        orders = f"order{'s' * (len(self.orders) > 1)} {', '.join(self.orders)}"
        return f"{self.title} of {self.source.path}{launch}; {orders}"

    def as_dict(self) -> dict:
        shape = self.shape or Shape(None, None, 0)
        launch = {"grid": shape.grid, "block": shape.block, "smem": shape.shared}
        return {"file": str(self.source.path), "kernel": self.kernel, **launch, "orders": self.orders}

    def build(self) -> Path:
        """Compiles, if need be; `go` does it as well."""
        return build.program(self.source, self.kernel, self.checked)

    def go(self, stdout: int | None = None) -> Done:
        """Runs it once in each schedule, each time with the same arguments.

        Args:
            stdout: a file descriptor for what the program itself prints in the first schedule; later ones are silent.
        """
        program = self.build()
        results = []
        for order in self.orders:
            streams = (stdout, None) if not results else (subprocess.DEVNULL, subprocess.DEVNULL)
            process = Process(program, self.checked, order, self.timeout, streams, self.kernel or "")
            if self.shape:
                results.append(process.kernel_once(self.shape, self.arguments))
            else:
                results.append(process.main_function(self.words))
            if any(finding.message.startswith(NOT_DONE) for finding in results[-1].report.findings):
                break
        report = with_files(merged(result.report for result in results), self.source.shown)
        return Done(report, results[0].arrays, next((result.status for result in results if result.status), 0))

    def save(self, done: Done, folder: Path) -> list[str]:
        """Writes the arrays by the names of their files; a second one of a name gets its place in the list, too."""
        saved: dict[Path, None] = {}
        for place, (argument, array) in enumerate(zip(self.arguments, done.arrays, strict=True), 1):
            if array is None:
                continue
            path = folder / Path(argument.text).name
            if path in saved:
                path = path.with_stem(f"{path.stem}_{place}")
            np.save(path, array)
            saved[path] = None
        return list(map(str, saved))


def check_order(order: str) -> None:
    if not re.fullmatch(r"forward|reverse|random:\d+", order):
        raise UsageError(f"--order {order!r}: expected forward, reverse or random:SEED")
