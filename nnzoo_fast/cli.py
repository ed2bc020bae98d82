"""The command `nnzoo-fast`: info, verify, bench, tune and cuemu."""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nnzoo_fast import _extension, machine, verify
from nnzoo_fast.backends import REFERENCE_BACKEND, STOCK_BACKEND, BackendError
from nnzoo_fast.cuemu.command import app as cuemu_app
from nnzoo_fast.explain import NotReached, explain, reached_by
from nnzoo_fast.spec import Maker, OpSpec, all_specs

app = typer.Typer(help="Fast neural-network layers with the same answers as PyTorch.", no_args_is_help=True)
app.add_typer(cuemu_app, name="cuemu")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class Mistake(Exception):
    """Something the user got wrong: shown as one line, exit code 2."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 all well, 1 a check failed, 2 wrong usage."""
    try:
        app(arguments, prog_name="nnzoo-fast")
    except Mistake as mistake:
        print(f"nnzoo-fast: {mistake}", file=sys.stderr)
        sys.exit(2)


@app.command()
def info(as_json: Json = False) -> None:
    """What was built, what this machine has, and what each operation runs on here."""
    module, here = _extension._C, machine.Machine.here()
    parts = {name: _extension.part(name) for name in ("_C", "_cuda")}
    facts = {
        "machine": here.as_dict(),
        "modules": {name: "loaded" if part.module else part.reason for name, part in parts.items()},
        "build": module.build_info() if module else None,
        "isas": list(module.isas()) if module else [],
        "operations": {name: _runs_on(spec) for name, spec in all_specs().items()},
    }
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    console = _console()
    console.print(_facts_table(here, facts), "")
    table = _table("What runs here", "operation", "dtype", "runs on", "why")
    for name, dtypes in facts["operations"].items():
        for dtype, row in dtypes.items():
            table.add_row(name, dtype, row["backend"], row["reason"])
    console.print(table)


@app.command("verify")
def verify_command(
    op: Annotated[list[str] | None, typer.Option("--op", help="Only this operation; repeat for more.")] = None,
    backend: Annotated[str | None, typer.Option(help="Only this backend.")] = None,
    as_json: Json = False,
) -> None:
    """Check every operation here against float64, next to stock torch's own error. Exit code 1 if one fails."""
    specs = all_specs()
    _known(op or [], specs, "operation")
    if backend is not None:
        _known([backend], _backends(specs.values()) - {REFERENCE_BACKEND}, "backend")
        if not any(verify.targets(specs[name], backend) for name in op or specs):
            here = dict.fromkeys(target.backend for spec in specs.values() for target in verify.targets(spec))
            raise Mistake(f"backend {backend!r} can't run that on this machine; here are {', '.join(here)}")
    console = _console(stderr=as_json)
    with _progress(console) as advance:
        rows = verify.verify(op, backend, lambda label: advance(None, None, label))
    if as_json:
        print(json.dumps([_finite(asdict(row)) for row in rows], indent=1))
    else:
        console.print(_verify_table(rows))
        for row in rows:
            for failure in row.failures:
                console.print(f"{row.op}, {row.target}, {row.dtype}: {failure}", style="red", highlight=False)
    failed = sum(not row.passed for row in rows)
    console.print(f"{len(rows) - failed} of {len(rows)} checks passed", style="red" if failed else "green")
    raise typer.Exit(1 if failed else 0)


@app.command()
def bench(
    what: Annotated[
        list[str] | None, typer.Argument(help="Operations, `layers`, `graphs` or `models`; default: all operations.")
    ] = None,
    backend: Annotated[list[str] | None, typer.Option(help="Time this backend; repeat for more.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Few cases, short timings.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every case in every dtype, layers, graphs and models.")] = False,
    ladder: Annotated[bool, typer.Option("--ladder", help="The rungs of each ladder, naive to fast.")] = False,
    dtype: Annotated[list[str] | None, typer.Option(help="Only this dtype, such as float32; repeat for more.")] = None,
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="Time torch.compile too.")] = True,
    out: Annotated[Path, typer.Option(help="Folder for bench.json, charts and index.html.")] = Path("bench-report"),
) -> None:
    """Time against the best of stock torch, torch.compile and installed peers. Exit code 1 if checks fail.

    An interrupted run goes on where it stopped, if nothing has changed.
    """
    from nnzoo_fast.benchmark import ops, report, session

    specs = all_specs()
    _known(what or [], [*specs, *session.GROUPS], "operation")
    _known(backend or [], _backends(specs.values()), "backend")
    _known(dtype or [], {verify.short(each) for spec in specs.values() for each in spec.dtypes}, "dtype")
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise Mistake(f"device {device!r}: this machine has cpu{' and cuda' if torch.cuda.is_available() else ' only'}")
    if _extension._C is None and device == "cpu":
        raise Mistake(f"bench needs the compiled kernels: {_extension.part('_C').reason}")
    _need_matplotlib()
    try:
        from nnzoo_fast.page import writable_folder

        writable_folder(out)
    except OSError as error:
        raise Mistake(f"--out: can't write to {out}: {error.strerror}") from None
    settings = ops.Settings(
        tuple(backend or ()), device, 0.3 if quick else 1.0, quick, every, compiled, ladder, tuple(dtype or ())
    )
    console = _console()
    with _progress(console) as advance:
        found = session.run(what or [], settings, advance, partial := out / "bench.partial.jsonl")
    table = _table(str(found.machine), *report.HEADERS)
    for row in found.rows:
        table.add_row(*map(_coloured, report.cells(row)))
    console.print(table)
    console.print(report.summary(found))
    for path in report.write(found, out):
        console.print(f"wrote {path}", style="dim", highlight=False)
    partial.unlink(missing_ok=True)
    raise typer.Exit(1 if found.failed else 0)


@app.command()
def zoo(
    name: Annotated[str | None, typer.Argument(help="A model of the table; then its layers are shown.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Hold each, or NAME, against its installed peer.")] = False,
    out: Annotated[Path | None, typer.Option(help="With --measure: a JSON file to put the figures into.")] = None,
    as_json: Json = False,
) -> None:
    """The published models, or one model layer by layer: outputs, parameters, work and kernels.

    The equality of the table was measured when this version was made: the largest error of an output, then of a
    gradient, against the peer in float64, ours / the peer's own in float32. --measure does that here; exit code 1 if a
    model isn't equal.
    """
    from nnzoo_fast.models.registry import PUBLISHED

    _known([name] if name else [], PUBLISHED, "model")
    if out is not None and not measure:
        raise Mistake("--out is where --measure writes to")
    if measure:
        rows, table = _measured([name] if name else list(PUBLISHED), out)
    elif name is None:
        rows, table = _published()
    else:
        rows, table = _layers(name)
    if as_json:
        print(json.dumps([_finite(row) for row in rows], indent=1))
    else:
        _console().print(table)
    if measure:
        raise typer.Exit(0 if all(row["equal"] for row in rows) else 1)


def _published() -> tuple[list[dict], Table]:
    from nnzoo_fast.models.equality import recorded
    from nnzoo_fast.models.registry import PUBLISHED

    known, rows = recorded(), []
    title = (
        "The zoo: nnzoo_fast.models.create(NAME); errors against the peer in float64: outputs, gradients, ours / its"
    )
    table = _table(title, "model", "family", "parameters", "equals", "measured equality")
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
    table = _table(title, "layer", "class", "output", "parameters", "MFLOP", "runs on")
    for row in rows:
        output = "not reached" if row["output"] is None else "x".join(map(str, row["output"]))
        counts = f"{row['parameters']:,}", f"{row['flops'] / 1e6:,.3g}" if row["flops"] else ""
        table.add_row(row["name"], row["kind"], output, *counts, row["runs_on"])
    return rows, table


def _measured(names: list[str], out: Path | None) -> tuple[list[dict], Table]:
    from nnzoo_fast.models import equality

    console = _console(stderr=True)
    table = _table(
        "Error against the peer in float64, ours / its own", "model", "equals", "outputs, gradients", "float64"
    )
    rows = []
    with _progress(console) as advance:
        for done, name in enumerate(names):
            advance(done, len(names), name)
            try:
                row = equality.measure(name)
            except (ModuleNotFoundError, equality.NoPeer) as error:
                console.print(f"{name}: not measured: {error}", style="yellow", highlight=False)
                continue
            rows.append(row)
            if out is not None:
                equality.write([row], out)
            table.add_row(name, row.peer, f"[{'green' if row.equal else 'red'}]{row}[/]", f"{row.float64:.0e}")
    return [asdict(row) for row in rows], table


@functools.cache
def _parameters(make) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())


@app.command("tune")
def tune_command(
    op: Annotated[list[str] | None, typer.Option("--op", help="Only this operation; repeat for more.")] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long to time each call.")] = 0.2,
    out: Annotated[
        Path | None, typer.Option(help="The table's file; by default the one that is read on import.")
    ] = None,
) -> None:
    """Measure where our kernels beat stock torch on this CPU, for later runs to choose by. Can be interrupted."""
    from nnzoo_fast import tables
    from nnzoo_fast.tune import swept, tune

    _known(op or [], swept(), "operation with a sweep")
    if _extension._C is None:
        raise Mistake(f"tune needs the compiled kernels: {_extension.part('_C').reason}")
    path = out or tables.own_folder() / tables.Cpu.here().file_name
    console = _console()
    try:
        with _progress(console) as advance:
            found = tune(op or [], path, seconds, advance)
    except OSError as error:
        raise Mistake(f"can't write {path}: {error.strerror}") from None
    console.print(_wins_table(found))
    console.print(f"wrote {path}", style="dim", highlight=False)


def _wins_table(sweep) -> Table:
    from nnzoo_fast.tune import crossings

    columns = "operation", "kind of call", "threads", "from work", "ratio there"
    table = _table("Where our kernels run on this CPU", *columns)
    for operation in sweep.points:
        for kind, threads, least, points in crossings(sweep.points[operation]):
            ratios = sorted(point.ratio for point in points if point.work >= (least or 0))
            wins = "never" if least is None else f"{least:,}"
            table.add_row(operation, kind, threads, wins, f"{ratios[0]:.2f} to {ratios[-1]:.2f}")
    return table


def _known(names: Iterable[str], known: Iterable[str], kind: str) -> None:
    known = sorted(known)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
            raise Mistake(f"no {kind} {name!r}; {hint}")


def _backends(specs: Iterable[OpSpec]) -> set[str]:
    tables = [row.name for spec in specs for row in _first_call(spec)[0].table]
    return {*tables, STOCK_BACKEND, REFERENCE_BACKEND}


def _first_call(spec: OpSpec):
    call = spec.samples[0].make(Maker())
    return reached_by(spec.function, *call.args, **call.kwargs)


def _runs_on(spec: OpSpec) -> dict[str, dict[str, str]]:
    """By dtype: the backend that a call worth timing runs on, on the best device here, and why."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = {}
    for dtype in spec.dtypes:
        call = spec.bench[0].make(Maker(dtype, device)) if spec.bench else spec.samples[0].make(Maker(dtype, device))
        try:
            explanation = explain(spec.function, *call.args, **call.kwargs)
            backend = explanation.chosen
            reason = next(row.reason for row in explanation.rows if row.backend == backend)
        except NotReached:
            backend, reason = STOCK_BACKEND, "no kernel for this call: it is stock torch's as a whole"
        chosen[verify.short(dtype)] = {"backend": backend, "reason": reason}
    return chosen


def _facts_table(here: machine.Machine, facts: dict) -> Table:
    table = Table.grid(padding=(0, 2))
    build = facts["build"]
    table.add_row("CPU", f"{here.cpu}, {here.cores} cores; torch uses {here.threads} threads")
    table.add_row("instruction sets", f"{', '.join(facts['isas']) or 'none'} (in use: {here.isa or 'none'})")
    table.add_row("GPU", here.gpu or "none that torch can use")
    for name, state in facts["modules"].items():
        table.add_row(f"nnzoo_fast.{name}", state)
    if build:
        table.add_row("compiled by", f"{build['compiler']} {build['compiler_version']}, {build['flags']}")
        table.add_row("OpenMP", build["openmp_library"] or "none")
    table.add_row("Python", f"{here.python} on {here.system}")
    table.add_row("versions", ", ".join(f"{name} {version}" for name, version in here.versions.items()))
    table.add_row("commit", here.commit or "not a checkout")
    return table


def _console(stderr: bool = False) -> Console:
    """Into a file or pipe, lines are long enough for every table."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=160)


def _table(title: str, *headers: str) -> Table:
    return Table(*headers, title=title, title_justify="left", title_style="dim", box=SIMPLE_HEAD, pad_edge=False)


def _verify_table(rows: list[verify.Row]) -> Table:
    title = "Worst error of each row against float64: relative Frobenius norm, ours / stock torch's"
    table = _table(title, "op", "on", "dtype")
    for name in ("samples", "outputs", "gradients", "of allowed", ""):
        table.add_column(name, justify="right")
    for row in rows:
        verdict, numbers = "[green]ok[/]" if row.passed else "[red]FAILED[/]", ["", "", ""]
        if not row.samples:
            verdict = "[dim]declined[/]"
        elif row.target.startswith("control"):
            verdict = "[green]refused[/]" if row.passed else "[red]BLIND[/]"
        else:
            errors = [f"{worst.ours:.1e} / {worst.torch:.1e}" for worst in (row.output, row.gradient)]
            numbers = [*errors, f"{100 * max(row.output.part, row.gradient.part):.0f} %"]
        table.add_row(row.op, row.target, row.dtype, str(row.samples), *numbers, verdict)
    return table


def _coloured(cell: str) -> str:
    colour = {"good": "green", "bad": "red"}.get(getattr(cell, "mark", ""))
    return f"[{colour}]{cell}[/]" if colour else cell


def _finite(value):
    """JSON has no infinity: such numbers become null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def _progress(console: Console) -> Iterator:
    """A bar on the terminal; yields `advance(done, total, label)`, where None means an unknown number."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, label: progress.update(task, completed=done, total=total, description=label)


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise Mistake("the charts need matplotlib: pip install 'nnzoo-fast[bench]'") from None
