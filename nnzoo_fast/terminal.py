"""What the commands share: tables and progress on a terminal, names that exist, and mistakes of the user."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nnzoo_fast.names import hint

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class Mistake(Exception):
    """Something the user got wrong: shown as one line, exit code 2."""


def known(names: Iterable[str], known: Iterable[str], kind: str) -> None:
    known = sorted(known)
    for name in names:
        if name not in known:
            raise Mistake(f"no {kind} {name!r}; {hint(name, known)}")


def console(stderr: bool = False) -> Console:
    """Into a file or pipe, lines are long enough for every table."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=160)


def table(title: str, *headers: str) -> Table:
    return Table(*headers, title=title, title_justify="left", title_style="dim", box=SIMPLE_HEAD, pad_edge=False)


def coloured(cell: str) -> str:
    colour = {"good": "green", "bad": "red"}.get(getattr(cell, "mark", ""))
    return f"[{colour}]{cell}[/]" if colour else cell


def finite(value):
    """JSON has no infinity: such numbers become null."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def progress(console: Console) -> Iterator:
    """A bar on the terminal; yields `advance(done, total, label)`, where None means an unknown number."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, label: progress.update(task, completed=done, total=total, description=label)
