"""`nnzoo-fast cuemu run` and `nnzoo-fast cuemu check`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from nnzoo_fast.cuemu import build, listing, table
from nnzoo_fast.cuemu.errors import CompileError, UsageError
from nnzoo_fast.cuemu.job import Done, Job
from nnzoo_fast.page import replacing, writable_folder

app = typer.Typer(
    help="Run and check the CUDA kernels of any .cu file on the CPU.", no_args_is_help=True, add_completion=False
)

_STDERR = 2

File = Annotated[Path, typer.Argument(help="A .cu file. It need not know of this project.", show_default=False)]
Words = Annotated[list[str] | None, typer.Argument(metavar="[ARGUMENT]...", show_default=False, help="See --args.")]
Args = Annotated[
    bool,
    typer.Option(
        "--args",
        help="The kernel's arguments follow: path.npy for a pointer (the kernel gets a copy), or a number as u8: i32: "
        "u32: i64: f16: f32: f64: with a value, such as i32:5. Without --kernel: words for the file's main function.",
    ),
]
KernelName = Annotated[
    str | None,
    typer.Option("--kernel", help='The kernel, a template as instantiated: "tile<32>". Default: the main function.'),
]
Grid = Annotated[str | None, typer.Option(help="Blocks: X or X,Y or X,Y,Z.")]
Block = Annotated[str | None, typer.Option(help="Threads of a block: X or X,Y or X,Y,Z.")]
Smem = Annotated[int, typer.Option(help="Bytes of dynamic shared memory.")]
Save = Annotated[Path | None, typer.Option(help="Folder for the arrays as the kernel left them, by their own names.")]
Html = Annotated[Path | None, typer.Option(help="Write the annotated source to this file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; what the kernel prints goes to standard error.")]
Order = Annotated[list[str] | None, typer.Option(help="Schedule: forward, reverse or random:SEED; repeat for more.")]
Timeout = Annotated[float, typer.Option(help="Seconds after which a run is given up.")]
Include = Annotated[list[Path] | None, typer.Option("-I", help="Folder with headers; repeat for more.")]
Define = Annotated[list[str] | None, typer.Option("-D", help="Macro, as NAME or NAME=VALUE; repeat for more.")]


def _command(checked: bool) -> Callable[..., None]:
    def command(
        file: File,
        words: Words = None,
        kernel: KernelName = None,
        grid: Grid = None,
        block: Block = None,
        args: Args = False,
        smem: Smem = 0,
        save: Save = None,
        order: Order = None,
        timeout: Timeout = 300.0,
        html: Html = None,
        as_json: Json = False,
        include: Include = None,
        define: Define = None,
    ) -> None:
        try:
            source = build.Source(file, tuple(include or ()), tuple(define or ()))
            if html:
                _parent(html)
            job = Job.of(source, kernel, words or [], grid, block, smem, order, checked, timeout)
            with _message(file):
                job.build()
            done = job.go(stdout=_STDERR if as_json else None)
            saved = job.save(done, writable_folder(save)) if save else []
        except (UsageError, CompileError) as error:
            print(f"nnzoo-fast: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except OSError as error:
            print(f"nnzoo-fast: {error.filename}: {error.strerror}", file=sys.stderr)
            raise typer.Exit(2) from None
        if html:
            with replacing(html) as temporary:
                temporary.write_text(listing.page(done.report, job.title, job.how, [str(file)]), encoding="utf-8")
        if as_json:
            facts = {**job.as_dict(), **done.report.as_dict(), "status": done.status, "saved": saved}
            print(json.dumps(facts, indent=1))
        else:
            _show(done, job, [*saved, *([str(html)] if html else [])])
        raise typer.Exit(0 if done.report.clean and done.status == 0 else 1)

    return command


_RUN = "Run a kernel, or a program. Exit code 0: well, 1: something went wrong in it, 2: wrong usage."
_CHECK = """Run it under the checker, in three schedules: races, accesses out of bounds, missing barriers and waits,
and how well each line uses memory. Exit code 0: clean, 1: findings, 2: wrong usage."""
app.command("run", help=_RUN)(_command(checked=False))
app.command("check", help=_CHECK)(_command(checked=True))


def _show(done: Done, job: Job, written: Sequence[str]) -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    table.show(done.report, console)
    if not done.report.clean:
        count = len(done.report.findings)
        console.print(f"{count} finding{'s' * (count > 1)}; {job.how}", style="red", highlight=False)
    elif done.status:
        console.print(f"the program ended with status {done.status}; {job.how}", style="red", highlight=False)
    else:
        console.print(f"{'no finding' if job.checked else 'done'}; {job.how}", style="green", highlight=False)
    for path in written:
        console.print(f"wrote {path}", style="dim", highlight=False, markup=False)


@contextlib.contextmanager
def _message(file: Path) -> Iterator[None]:
    """A word on the terminal while the compilers are at work; nothing where nobody watches."""
    console = Console(stderr=True)
    with console.status(f"compiling {escape(str(file))}") if console.is_terminal else contextlib.nullcontext():
        yield


def _parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise UsageError(f"--html: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"--html: {path} is a folder")
