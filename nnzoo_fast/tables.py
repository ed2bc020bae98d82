"""Where our kernels beat stock torch on this CPU: the tables behind `pays`, which `nnzoo-fast tune` writes.

A table names, for each kind of call of an operation, the work from which our kernel wins; calls on one thread may have
an entry of their own, since a kernel that memory bounds gains from a second thread what stock torch's has not. Shipped
tables lie in `measured/`, a file per CPU model; one that a user measured comes first. Where a CPU has no table, or
kernels use another instruction set than it was measured with, each operation has a rule of its own.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from nnzoo_fast import _compat, _extension
from nnzoo_fast.backends import Verdict, wants_gradients

DTYPE_NAMES = {dtype: str(dtype).removeprefix("torch.") for dtype in _extension.DTYPE_CODES}

SHIPPED = Path(__file__).parent / "measured"

MEMORY_BOUND = 8
"""FLOPs for each byte of compulsory traffic under which a kernel waits for memory on any CPU that we know."""


@dataclass(frozen=True)
class Cpu:
    """A CPU as /proc/cpuinfo names it, and the instruction set that the kernels use on it."""

    vendor: str
    family: int
    model: int
    isa: str | None

    @staticmethod
    def of(cpuinfo: str, isa: str | None) -> Cpu:
        """From the text of /proc/cpuinfo; where that says nothing, numbers are 0."""
        vendor = re.search(r"^vendor_id\s*: (.*)$", cpuinfo, re.MULTILINE)
        numbers = [re.search(rf"^{name}\s*: (\d+)$", cpuinfo, re.MULTILINE) for name in ("cpu family", "model")]
        return Cpu(vendor[1] if vendor else "", *(int(found[1]) if found else 0 for found in numbers), isa)

    @staticmethod
    def here() -> Cpu:
        path = Path("/proc/cpuinfo")
        isa = None if _extension._C is None else _extension._C.isa()
        return Cpu.of(path.read_text() if path.exists() else "", isa)

    def as_dict(self) -> dict:
        return asdict(self)

    @property
    def file_name(self) -> str:
        """`"AuthenticAMD-25-17-avx512.json"`."""
        return f"{self.vendor or 'unknown'}-{self.family}-{self.model}-{self.isa}.json"


Wins = dict[str, dict[str, int | None]]
"""`wins[operation][kind]`: the work from which our kernel wins, None if it never does."""


@dataclass(frozen=True)
class Table:
    """`alone`: where our kernel wins on one thread, for the kinds of call that differ there from `wins_from`."""

    cpu: Cpu
    wins_from: Wins
    source: str
    alone: Wins = field(default_factory=dict)

    @staticmethod
    def read(path: Path) -> Table:
        """
        Raises:
            ValueError: the file is no table.
        """
        try:
            data = json.loads(path.read_text())
            operations = data["operations"]
            wins_from = {name: dict(entry["wins_from"]) for name, entry in operations.items()}
            alone = {name: dict(entry.get("alone", {})) for name, entry in operations.items()}
            for kinds in (*wins_from.values(), *alone.values()):
                for kind, least in kinds.items():
                    if least is not None and type(least) is not int:
                        raise TypeError(f"{kind!r} wins from {least!r}")
            return Table(Cpu(**data["cpu"]), wins_from, str(path), alone)
        except (KeyError, TypeError, AttributeError, ValueError) as error:  # of JSON and of Unicode, too
            raise ValueError(f"{path} is no table of `nnzoo-fast tune`: {type(error).__name__}: {error}") from None


def own_folder() -> Path:
    """Where tables that the user measured lie: `$XDG_DATA_HOME/nnzoo_fast` or `~/.local/share/nnzoo_fast`."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share", "nnzoo_fast")


def nearest(tables: Iterable[Table], cpu: Cpu) -> Table | None:
    """The table of this CPU, else of the nearest model of its family with the same instruction set."""
    related = [t for t in tables if (t.cpu.vendor, t.cpu.family, t.cpu.isa) == (cpu.vendor, cpu.family, cpu.isa)]
    return min(related, key=lambda table: abs(table.cpu.model - cpu.model), default=None)


def find(cpu: Cpu, forced: str | None = None) -> Table | None:
    """The table for this CPU. `forced`, environment variable NNZOO_TABLE, is a table's file, or "none" for none.

    A broken table of the user's own gives a warning, and the shipped one.

    Raises:
        ValueError: a file that is no table.
        OSError: `forced` can't be read.
    """
    if forced:
        return None if forced == "none" else Table.read(Path(forced))
    own = own_folder() / cpu.file_name
    if own.is_file():
        try:
            return Table.read(own)
        except (ValueError, OSError) as error:
            warnings.warn(f"{error}; `nnzoo-fast tune` makes a new one", RuntimeWarning, stacklevel=2)
    return nearest(map(Table.read, sorted(SHIPPED.glob("*.json"))), cpu)


TABLE = find(Cpu.here(), os.environ.get("NNZOO_TABLE"))


@_compat.constant_in_a_program
def on_one_thread() -> bool:
    """A compiled program need not guard it: torch compiles anew by itself where the number of threads has changed."""
    return torch.get_num_threads() == 1


def pays(operation: str, kind: str, work: int, rule: Verdict, unit: str = "multiply-adds") -> Verdict:
    """Whether a call of this `kind` and `work`, so many of a `unit`, is expected to beat stock torch here.

    `rule` is the answer where no table says.
    """
    if TABLE is None or kind not in TABLE.wins_from.get(operation, {}):
        return rule
    least, where = TABLE.wins_from[operation][kind], "on this CPU"
    if kind in TABLE.alone.get(operation, {}) and on_one_thread():
        least, where = TABLE.alone[operation][kind], "on one thread of this CPU"
    if least is None:
        return False, f"{kind}: stock torch was as fast at every size measured {where}"
    if work < least:
        return False, f"{kind}: stock torch is as fast below {least} {unit} {where}"
    return True, f"{kind}: measured to win from {least} {unit} {where}"


def way(*tensors: torch.Tensor | None) -> str:
    """`"training"` or `"forward"`, by whether autograd will ask for a gradient."""
    return "training" if wants_gradients(*tensors) else "forward"


def onednn_keeps_bf16() -> bool:
    """Whether oneDNN, behind torch's operators, has bfloat16 products on this CPU that the kernels here don't match."""
    if not _compat.CPU_MULTIPLIES_BF16:
        return False
    return not _extension.MULTIPLIES_BF16 or not pays("linear", "bfloat16 wide forward", 2**40, (False, ""))[0]
