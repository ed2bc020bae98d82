"""A report as text on a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nnzoo_fast.cuemu.report import Finding, Kernel, Line, Report

IDEAL_WAYS = 1.0


def show(report: Report, console: Console) -> None:
    for file in dict.fromkeys(line.file for line in report.lines):
        console.print(_lines(file, [line for line in report.lines if line.file == file]))
    if report.kernels:
        console.print(_kernels(report.kernels))
    for finding in report.findings:
        console.print(_finding(finding), soft_wrap=True)


def _finding(finding: Finding) -> Text:
    text = Text()
    if finding.file:
        text.append(f"{finding.file}:{finding.line}: ", style="bold")
    text.append(finding.kind, style="bold red")
    text.append(f": {finding.message}")
    if details := about(finding):
        text.append(f"\n    {details}", style="dim")
    return text


def about(finding: Finding) -> str:
    """Kernel, first occurrence, number of occurrences and the other line, as far as they are known."""
    parts = [f"kernel {finding.kernel}"] if finding.kernel else []
    for name, index in (("block", finding.block), ("thread", finding.thread)):
        if index is not None:
            parts.append(f"{name} ({', '.join(map(str, index))})")
    if finding.count > 1:
        parts.append(f"{finding.count} times")
    if finding.other:
        parts.append(f"with {finding.other['file']}:{finding.other['line']}")
    return ", ".join(parts)


def _table(title: str, *headers: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="dim", box=SIMPLE_HEAD, pad_edge=False)
    for name in headers:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def _lines(file: str, lines: list[Line]) -> Table:
    numbers = ("requests", "sectors / request", "needed", "bank ways", "lanes")
    title = f"{file}: memory requests of warps, means over requests"
    table = _table(title, "line", "access", *numbers, "source", right=numbers)
    sources = source_lines(file)
    for line in sorted(lines, key=lambda line: (line.line, line.access, line.space)):
        wide = is_wide(line)
        source = sources[line.line - 1].strip() if 0 < line.line <= len(sources) else ""
        table.add_row(
            str(line.line),
            f"{line.access} {line.space}",
            str(line.requests),
            _number(line.sectors_per_request, wide),
            _number(line.sectors_needed),
            _number(line.bank_ways, wide),
            _number(line.active_lanes),
            Text(source, style="dim", overflow="ellipsis", no_wrap=True),
        )
    return table


def is_wide(line: Line) -> bool:
    """Does it move more than it has to: sectors that hold nothing asked for, or a bank asked twice?"""
    if line.space == "shared":
        return (line.bank_ways or 0) > IDEAL_WAYS
    return (line.sectors_per_request or 0) > 1.5 * (line.sectors_needed or 0)


def _kernels(kernels: list[Kernel]) -> Table:
    numbers = ("launches", "read", "of them needed", "written", "of them needed ", "divergent requests")
    title = "Global memory, bytes in sectors moved and bytes that had to move"
    table = _table(title, "kernel", *numbers, right=numbers)
    for kernel in kernels:
        table.add_row(
            Text(kernel.name),
            str(kernel.launches),
            *(readable_bytes(count) for count in (kernel.sector_bytes_read, kernel.compulsory_read)),
            *(readable_bytes(count) for count in (kernel.sector_bytes_written, kernel.compulsory_written)),
            f"{kernel.divergent_requests} of {kernel.requests}",
        )
    return table


def _number(value: float | None, wide: bool = False) -> Text:
    return Text("" if value is None else f"{value:.4g}", style="yellow" if wide else "")


def readable_bytes(count: int) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 10_000:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GB"


def source_lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(errors="replace").splitlines()
    except OSError:
        return []
