"""The command `nnzoo-fast`: info, verify, bench, tune, zoo and cuemu."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table

from nnzoo_fast import _extension, machine, terminal, verify
from nnzoo_fast.backends import REFERENCE_BACKEND, STOCK_BACKEND
from nnzoo_fast.cuemu.command import app as cuemu_app
from nnzoo_fast.explain import NotReached, explain, reached_by
from nnzoo_fast.spec import Maker, OpSpec, all_specs
from nnzoo_fast.terminal import Json, Mistake
from nnzoo_fast.zoo_command import zoo

app = typer.Typer(help="Fast neural-network layers with the same answers as PyTorch.", no_args_is_help=True)
app.add_typer(cuemu_app, name="cuemu")


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
    console = terminal.console()
    console.print(_facts_table(here, facts), "")
    table = terminal.table("What runs here", "operation", "dtype", "runs on", "why")
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
    terminal.known(op or [], specs, "operation")
    if backend is not None:
        terminal.known([backend], _backends(specs.values()) - {REFERENCE_BACKEND}, "backend")
        if not any(verify.targets(specs[name], backend) for name in op or specs):
            here = dict.fromkeys(target.backend for spec in specs.values() for target in verify.targets(spec))
            raise Mistake(f"backend {backend!r} can't run that on this machine; here are {', '.join(here)}")
    console = terminal.console(stderr=as_json)
    with terminal.progress(console) as advance:
        rows = verify.verify(op, backend, lambda label: advance(None, None, label))
    if as_json:
        print(json.dumps([terminal.finite(asdict(row)) for row in rows], indent=1))
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
    terminal.known(what or [], [*specs, *session.GROUPS], "operation")
    terminal.known(backend or [], _backends(specs.values()), "backend")
    terminal.known(dtype or [], {verify.short(each) for spec in specs.values() for each in spec.dtypes}, "dtype")
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
    console = terminal.console()
    with terminal.progress(console) as advance:
        found = session.run(what or [], settings, advance, partial := out / "bench.partial.jsonl")
    table = terminal.table(str(found.machine), *report.HEADERS)
    for row in found.rows:
        table.add_row(*map(terminal.coloured, report.cells(row)))
    console.print(table)
    console.print(report.summary(found))
    for path in report.write(found, out):
        console.print(f"wrote {path}", style="dim", highlight=False)
    partial.unlink(missing_ok=True)
    raise typer.Exit(1 if found.failed else 0)


app.command()(zoo)


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

    terminal.known(op or [], swept(), "operation with a sweep")
    if _extension._C is None:
        raise Mistake(f"tune needs the compiled kernels: {_extension.part('_C').reason}")
    path = out or tables.own_folder() / tables.Cpu.here().file_name
    console = terminal.console()
    try:
        with terminal.progress(console) as advance:
            found = tune(op or [], path, seconds, advance)
    except OSError as error:
        raise Mistake(f"can't write {path}: {error.strerror}") from None
    console.print(_wins_table(found))
    console.print(f"wrote {path}", style="dim", highlight=False)


def _wins_table(sweep) -> Table:
    from nnzoo_fast.tune import crossings

    columns = "operation", "kind of call", "threads", "from work", "ratio there"
    table = terminal.table("Where our kernels run on this CPU", *columns)
    for operation in sweep.points:
        for kind, threads, least, points in crossings(sweep.points[operation]):
            ratios = sorted(point.ratio for point in points if point.work >= (least or 0))
            wins = "never" if least is None else f"{least:,}"
            table.add_row(operation, kind, threads, wins, f"{ratios[0]:.2f} to {ratios[-1]:.2f}")
    return table


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
    quick = [case for case in spec.bench if case.quick]  # info runs each call: the long ones would take a minute
    case = (quick or spec.bench or spec.samples)[0]
    for dtype in spec.dtypes:
        call = case.make(Maker(dtype, device))
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


def _verify_table(rows: list[verify.Row]) -> Table:
    title = "Worst error of each row against float64: relative Frobenius norm, ours / stock torch's"
    table = terminal.table(title, "op", "on", "dtype")
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


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise Mistake("the charts need matplotlib: pip install 'nnzoo-fast[bench]'") from None
