"""The command `nnzoo-fast zoo`: the published models, one of them layer by layer, and what they are equal to."""

from __future__ import annotations

import contextlib
import functools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table

from nnzoo_fast import terminal
from nnzoo_fast.backends import BackendError
from nnzoo_fast.terminal import Json, Mistake


def zoo(
    name: Annotated[str | None, typer.Argument(help="A model of the table; then its layers are shown.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Hold each, or NAME, against its installed peer.")] = False,
    out: Annotated[Path | None, typer.Option(help="With --measure: a JSON file to put the figures into.")] = None,
    as_json: Json = False,
) -> None:
    """The published models, or one model layer by layer: outputs, parameters, work and kernels.

    The equality of the table was measured when this version was made: the largest error of an output, then of a
    gradient, against the peer in float64, ours / the peer's own in float32. --measure does that here; exit code 1 if a
    model isn't equal, or none has a peer here.
    """
    from nnzoo_fast.models.registry import PUBLISHED

    names = [] if name is None else [name]
    terminal.known(names, PUBLISHED, "model")
    if out is not None and not measure:
        raise Mistake("--out is where --measure writes to")
    if measure:
        rows, table = _measured(names or list(PUBLISHED), out)
    elif name is None:
        rows, table = _published()
    else:
        rows, table = _layers(name)
    if as_json:
        print(json.dumps([terminal.finite(row) for row in rows], indent=1))
    else:
        terminal.console().print(table)
    if measure:
        raise typer.Exit(0 if rows and all(row["equal"] for row in rows) else 1)


def _published() -> tuple[list[dict], Table]:
    from nnzoo_fast.models.equality import recorded
    from nnzoo_fast.models.registry import PUBLISHED

    known, rows = recorded(), []
    title = (
        "The zoo: nnzoo_fast.models.create(NAME); errors against the peer in float64: outputs, gradients, ours / its"
    )
    table = terminal.table(title, "model", "family", "parameters", "equals", "measured equality")
    for key, entry in PUBLISHED.items():
        count, equality = _parameters(entry.make), known.get(key)
        rows.append({"model": key, "family": entry.family, "parameters": count, "equals": entry.peer})
        rows[-1]["equality"] = equality and asdict(equality)
        table.add_row(key, entry.family, f"{count:,}", entry.peer, str(equality or "not measured"))
    return rows, table


def _layers(name: str) -> tuple[list[dict], Table]:
    from nnzoo_fast.models.registry import PUBLISHED, create
    from nnzoo_fast.models.summary import kernel_share, summarise

    model, example = create(name).eval(), PUBLISHED[name].example()
    rows = [asdict(row) for row in summarise(model, *example)]
    title = f"{name}, for one example"
    with contextlib.suppress(BackendError):  # without the compiled kernels there is no share
        title += f"; our kernels can do {100 * kernel_share(model, *example).share:.3g} % of its FLOPs"
    table = terminal.table(title, "layer", "class", "output", "parameters", "MFLOP", "runs on")
    for row in rows:
        output = "not reached" if row["output"] is None else "x".join(map(str, row["output"]))
        counts = f"{row['parameters']:,}", f"{row['flops'] / 1e6:,.3g}" if row["flops"] else ""
        table.add_row(row["name"], row["kind"], output, *counts, row["runs_on"])
    return rows, table


def _measured(names: list[str], out: Path | None) -> tuple[list[dict], Table]:
    from nnzoo_fast.models import equality

    if out is not None:
        _add([], out)  # what is wrong with the file is said before anything is measured
    console = terminal.console(stderr=True)
    table = terminal.table(
        "Error against the peer in float64, ours / its own", "model", "equals", "outputs, gradients", "float64"
    )
    rows = []
    with terminal.progress(console) as advance:
        for done, name in enumerate(names):
            advance(done, len(names), name)
            try:
                row = equality.measure(name)
            except (ModuleNotFoundError, equality.NoPeer) as error:
                console.print(f"{name}: not measured: {error}", style="yellow", highlight=False)
                continue
            rows.append(row)
            if out is not None:
                _add([row], out)
            table.add_row(name, row.peer, f"[{'green' if row.equal else 'red'}]{row}[/]", f"{row.float64:.0e}")
    return [asdict(row) for row in rows], table


def _add(rows: list, out: Path) -> None:
    from nnzoo_fast.models import equality

    try:
        equality.write(rows, out)
    except OSError as error:
        raise Mistake(f"can't write {out}: {error.strerror}") from None
    except ValueError:
        raise Mistake(f"{out} holds other things than figures of --measure") from None


@functools.cache
def _parameters(make) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())
