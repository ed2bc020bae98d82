"""Runs a built program in a process of its own and reads what became of it.

The files between the two are those of csrc/cuemu/command/request.h and outcome.h.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnzoo_fast.cuemu import compiler
from nnzoo_fast.cuemu import report as reports
from nnzoo_fast.cuemu.arguments import Array, Number
from nnzoo_fast.cuemu.errors import UsageError
from nnzoo_fast.cuemu.report import Finding, Report
from nnzoo_fast.cuemu.shape import Shape

NOT_DONE = "not done"  # how the message begins of a program that was stopped
_GRACE_SECONDS = 5.0
_SPIN_SECONDS = 30  # what CUEMU_SPIN_SECONDS is by itself
_LONGEST_TIMER = 1e6


@dataclass(frozen=True)
class Result:
    """`arrays`: each array argument as the kernel left it, None for numbers. `status`: the program's exit status."""

    report: Report
    arrays: list[np.ndarray | None]
    status: int = 0


@dataclass(frozen=True)
class Process:
    """How a program is run: checked or not, in which schedule, for how long, and where its own output and errors go."""

    program: Path
    checked: bool
    order: str = "forward"
    timeout: float | None = None
    streams: tuple[int | None, int | None] = (None, None)
    kernel: str = ""

    def kernel_once(self, shape: Shape, arguments: Sequence[Number | Array]) -> Result:
        """One launch. The arguments stay as they are.

        Raises:
            UsageError: the arguments don't fit the kernel.
        """
        with tempfile.TemporaryDirectory(prefix="nnzoo-cuemu-") as folder:
            paths = [Path(folder, f"{place}.bin") for place in range(len(arguments))]
            entries = ["\t".join(map(str, ("grid", *shape.grid))), "\t".join(map(str, ("block", *shape.block)))]
            entries.append(f"shared\t{shape.shared}")
            for path, argument in zip(paths, arguments, strict=True):
                entries.append(_entry(argument, path))
            report, status = self._run(Path(folder), entries, [])
            arrays = [_read_back(argument, path) for argument, path in zip(arguments, paths, strict=True)]
        return Result(report, arrays, status)

    def main_function(self, words: Sequence[str]) -> Result:
        """The file's own program with these words on its command line."""
        with tempfile.TemporaryDirectory(prefix="nnzoo-cuemu-") as folder:
            report, status = self._run(Path(folder), [], words)
        return Result(report, [], status)

    def _run(self, folder: Path, entries: list[str], words: Sequence[str]) -> tuple[Report, int]:
        outcome, request = folder / "outcome", folder / "request"
        mode = "check" if self.checked else "run"
        entries = [f"report\t{outcome}", f"mode\t{mode}", *entries]
        if self.timeout is not None and self.timeout < _LONGEST_TIMER:
            entries.append(f"timeout\t{max(1, round(1000 * self.timeout))}")
        request.write_text("\n".join([*entries, ""]), errors="surrogateescape")
        environment = {**os.environ, "CUEMU_REQUEST": str(request), "CUEMU_ORDER": self.order}
        if self.timeout is not None and self.timeout < 2 * _SPIN_SECONDS:  # the emulator's own report says more
            environment.setdefault("CUEMU_SPIN_SECONDS", str(max(1, int(self.timeout / 2))))
        try:
            streams = dict(zip(("stdin", "stdout", "stderr"), (subprocess.DEVNULL, *self.streams), strict=True))
            patience = None if self.timeout is None else self.timeout + _GRACE_SECONDS
            done = subprocess.run([self.program, *words], env=environment, timeout=patience, **streams)
        except subprocess.TimeoutExpired:  # the program has changed its signals
            return Report([Finding("deadlock", "", 0, self._endless, self.kernel)]), 0
        word, _, text = outcome.read_text(errors="replace").partition("\n") if outcome.exists() else ("", "", "")
        return self._report(word, text, done.returncode), done.returncode

    def _report(self, word: str, text: str, status: int) -> Report:
        if word == "usage":
            raise UsageError(text)
        if word == "checked":
            return reports.from_json(json.loads(text))
        if word == "done":
            return Report()
        if word == "failed":
            return Report([_failure(text, self.kernel)])
        if word == "crashed":
            return Report([self._crash(text)])
        if word == "overrun":
            return Report([Finding("out_of_bounds", "", 0, message, self.kernel) for message in text.splitlines()])
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        hint = ": a stack has 64 KB, and a kernel with large arrays or recursion needs more" if status == -11 else ""
        return Report([Finding(reports.FAILED, "", 0, f"the program ended with {name}{hint}", self.kernel)])

    @property
    def _endless(self) -> str:
        return (
            f"{NOT_DONE} after {self.timeout:g} s: a thread may spin on what another thread has yet to do, which may "
            "never end here (csrc/cuemu/README.md); --timeout gives more time"
        )

    def _crash(self, text: str) -> Finding:
        number, counter, address, *indices, where = text.split("\t")
        block, thread = ([int(index) for index in part] for part in (indices[:3], indices[3:]))
        file, line = _source_line(self.program, counter)
        if int(number) == signal.SIGALRM:
            kind = "deadlock" if where == "in a kernel" else reports.FAILED
            return Finding(kind, file, line, f"{self._endless}; it is {where}", self.kernel, 1, block, thread)
        if int(number) in (signal.SIGSEGV, signal.SIGBUS):
            kind, message = "out_of_bounds", f"access to address 0x{address}" + (f", {where}" if where else "")
        else:
            kind, message = reports.FAILED, f"the kernel crashes with {signal.Signals(int(number)).name}"
        return Finding(kind, file, line, message, self.kernel, 1, block, thread)


def _entry(argument: Number | Array, path: Path) -> str:
    text = re.sub(r"\s", " ", argument.text)
    if isinstance(argument, Number):
        return f"number\t{argument.kind}\t{argument.value}\t{text}"
    path.write_bytes(argument.data.tobytes())
    return f"array\t{argument.dtype}\t{argument.data.size}\t{argument.data.itemsize}\t{path}\t{text}"


def _read_back(argument: Number | Array, path: Path) -> np.ndarray | None:
    if isinstance(argument, Number):
        return None
    return np.frombuffer(path.read_bytes(), argument.data.dtype).reshape(argument.data.shape).copy()


# What the emulator's messages speak of, in the words of the checker.
_SPOKEN_OF = (
    ("missing_wait", r"has not waited for"),
    ("exited_lane", r"mask does not name|has returned"),
    ("misaligned", r"not aligned|misaligned"),
    ("deadlock", r"deadlock|barrier|wait for ever|waits? at"),
)


def _failure(text: str, kernel: str) -> Finding:
    """A finding from the message of an exception: "kernel K, block (0, 0, 0), ...: what happened (kernel.cu:12)"."""
    kind = next((kind for kind, pattern in _SPOKEN_OF if re.search(pattern, text)), reports.FAILED)
    named = re.match(r"kernel (.*?)(?:, block| can't)", text)
    site = re.search(r" ?\(([^()\n]+):(\d+)\)", text)
    file, line = (site.group(1), int(site.group(2))) if site else ("", 0)
    message = text[: site.start()] if site and site.end() == len(text) else text.strip()
    return Finding(kind, file, line, message, named.group(1) if named else kernel)


def _source_line(program: Path, counter: str) -> tuple[str, int]:
    """The file and line of a program counter, relative to the program's start; of inlined code, the user's line."""
    try:
        done = subprocess.run(
            ["addr2line", "-i", "-e", program, f"0x{counter}"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return "", 0
    for site in done.stdout.splitlines():
        file, _, line = site.partition(" ")[0].rpartition(":")
        if line.isdigit() and not file.startswith(f"{compiler.sources()}{os.sep}"):
            return file, int(line)
    return "", 0
