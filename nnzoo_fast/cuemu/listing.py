"""A report as the annotated source: one self-contained HTML page, light or dark as the reader's system."""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from nnzoo_fast.cuemu.report import Finding, Kernel, Line, Report
from nnzoo_fast.cuemu.table import about, readable_bytes, source_lines

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --faint: #6b7785; --paper: #ffffff; --panel: #f5f7f9; --edge: #e1e6eb;
  --bad: #b42318; --bad-paper: #fef1f0; --good: #1b6e3c; --word: #7a3ea8; --type: #0b6e99; --text: #2e7d32;
  --note: #7b8794; --number: #b45309; --heat: 234 88 12; }
@media (prefers-color-scheme: dark) { :root { --ink: #d8dee6; --faint: #8b98a7; --paper: #14181d; --panel: #1c2229;
  --edge: #2b333d; --bad: #ff8a80; --bad-paper: #33191a; --good: #7bd99b; --word: #c79bf2; --type: #6cc5e8;
  --text: #8fce94; --note: #76828f; --number: #e5a663; --heat: 251 146 60; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 84rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.5rem; margin: 0; } h1 code { font-size: .95em; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
.lead { color: var(--faint); margin: .2rem 0 1.4rem; } .verdict { font-weight: 600; } .clean { color: var(--good); }
.found { color: var(--bad); } a { color: inherit; }
ol.findings { list-style: none; margin: .8rem 0; padding: 0; }
.finding { background: var(--bad-paper); border-left: 3px solid var(--bad); border-radius: 0 .3rem .3rem 0;
  padding: .45rem .8rem; margin: .4rem 0; } .finding b { color: var(--bad); }
.finding .about { color: var(--faint); font-size: .85rem; display: block; } .finding .what { white-space: pre-wrap; }
table.totals { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
.totals th, .totals td { text-align: right; padding: .3rem 0 .3rem 1.6rem; border-bottom: 1px solid var(--edge); }
.totals th:first-child, .totals td:first-child { text-align: left; padding-left: 0; } .totals th { font-weight: 600; }
.wide { overflow-x: auto; }
table.code { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  font: 13px/1.55 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.code th { position: sticky; top: 0; background: var(--panel); color: var(--faint); text-align: right;
  font: 600 12px/1.3 system-ui, sans-serif; padding: .45rem .6rem; border-bottom: 1px solid var(--edge);
  white-space: nowrap; }
.code th.source, .code th.access { text-align: left; }
.code td { padding: 0 .6rem; text-align: right; vertical-align: top; white-space: pre; }
.code td.source { text-align: left; width: 100%; border-left: 1px solid var(--edge); tab-size: 4; }
.code td.line { color: var(--note); user-select: none; } .code td.access { color: var(--faint); text-align: left; }
.code tr:target td, .code tr.bad td.source { background: var(--bad-paper); }
.code tr:hover td { background: var(--panel); } .code td.heat { background: rgb(var(--heat) / var(--part)); }
.code td.inline { white-space: normal; text-align: left; font-family: system-ui, sans-serif; }
.word { color: var(--word); } .type { color: var(--type); } .text { color: var(--text); }
.note { color: var(--note); font-style: italic; } .number { color: var(--number); }
.key { color: var(--faint); font-size: .9rem; max-width: 60rem; }
"""

_WORDS = """alignas auto break case class const constexpr continue default delete do else enum extern false for
if inline namespace new nullptr operator private public return sizeof static static_assert
static_cast struct switch template this true typedef typename union using volatile while __global__
__device__ __host__ __shared__ __constant__ __restrict__ __launch_bounds__ __forceinline__
__noinline__ reinterpret_cast const_cast"""
_TYPES = """bool char double float half int long short signed size_t unsigned void int8_t uint8_t int16_t uint16_t
int32_t uint32_t int64_t uint64_t dim3 float2 float3 float4 int2 int3 int4 uint2 uint3 uint4 double2 __half __half2
__nv_bfloat16
threadIdx blockIdx blockDim gridDim warpSize"""
_HIGHLIGHTED = re.compile(
    r"(?P<note>//[^\n]*|/\*.*?\*/)"
    r'|(?P<text>"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)+\')'
    r"|(?P<number>\b\d[\w.']*)"
    rf"|(?P<word>(?:^[ \t]*\#[ \t]*\w+)|\b(?:{'|'.join(_WORDS.split())})\b)"
    rf"|(?P<type>\b(?:{'|'.join(_TYPES.split())})\b)",
    re.DOTALL | re.MULTILINE,
)
_HEADERS = ("line", "access", "requests", "sectors", "needed", "bank ways")
_KEY = (
    "A request is what one warp asks of memory at once. Sectors are the 32-byte pieces of global memory that a request "
    "moves, next to as many as its bytes would fill; bank ways are the turns that shared memory takes for it. Numbers "
    "are means over requests; the darker, the further from the ideal."
)


def page(report: Report, title: str, what: str, files: Sequence[str]) -> str:
    """The document. `title` names the kernel, `what` says how it was run; `files` are shown even if nothing is to be
    said of them."""
    entries = [*report.lines, *report.findings]
    shown = dict.fromkeys([*files, *sorted({entry.file for entry in entries if entry.file} - set(files))])
    count = len(report.findings)
    verdict = f"{count} finding{'s' * (count > 1)}" if count else "no finding"
    colour = "found" if count else "clean"
    parts = [
        f"<h1><code>{html.escape(title)}</code></h1>",
        f'<p class="lead"><span class="verdict {colour}">{verdict}</span> · {html.escape(what)}</p>',
        *_summary(report.findings, shown),
        *_totals(report.kernels),
        *(part for place, file in enumerate(shown) for part in _file(file, place, report)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}: {verdict}</title>\n"
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        "<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )


def _summary(findings: list[Finding], files: dict[str, None]) -> Iterator[str]:
    if findings:
        yield '<ol class="findings">'
        for finding in findings:
            where = html.escape(f"{finding.file}:{finding.line}")
            if finding.file in files:
                where = f'<a href="#{_anchor(list(files).index(finding.file), finding.line)}">{where}</a>'
            yield f"<li>{_finding(finding, where if finding.file else '')}</li>"
        yield "</ol>"


def _finding(finding: Finding, where: str = "") -> str:
    details = about(finding)
    return (
        f'<div class="finding">{where} <b>{html.escape(finding.kind)}</b> '
        f'<span class="what">{html.escape(finding.message)}</span>'
        + (f'<span class="about">{html.escape(details)}</span>' if details else "")
        + "</div>"
    )


def _totals(kernels: list[Kernel]) -> Iterator[str]:
    if not kernels:
        return
    headers = ("kernel", "launches", "read", "of them needed", "written", "of them needed", "divergent requests")
    yield '<div class="wide"><table class="totals"><thead><tr>' + "".join(f"<th>{name}</th>" for name in headers)
    yield "</tr></thead><tbody>"
    for kernel in kernels:
        cells = [html.escape(kernel.name), str(kernel.launches)]
        cells += map(readable_bytes, (kernel.sector_bytes_read, kernel.compulsory_read))
        cells += map(readable_bytes, (kernel.sector_bytes_written, kernel.compulsory_written))
        cells.append(f"{kernel.divergent_requests} of {kernel.requests}")
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield "</tbody></table></div>"


def _file(file: str, place: int, report: Report) -> Iterator[str]:
    counts, findings = defaultdict(list), defaultdict(list)
    for line in report.lines:
        if line.file == file:
            counts[line.line].append(line)
    for finding in report.findings:
        if finding.file == file:
            findings[finding.line].append(finding)
    yield f"<h2>{html.escape(file)}</h2>"
    if counts:
        yield f'<p class="key">{_KEY}</p>'
    yield '<div class="wide"><table class="code"><thead><tr>'
    yield "".join(f'<th class="{name}">{name}</th>' for name in _HEADERS)
    yield '<th class="source">source</th></tr></thead><tbody>'
    for number, source in enumerate(_highlighted("\n".join(source_lines(file))), 1):
        bad = ' class="bad"' if number in findings else ""
        cells = _cells(sorted(counts[number], key=lambda line: (line.access, line.space)))
        yield (
            f'<tr id="{_anchor(place, number)}"{bad}><td class="line">{number}</td>{cells}'
            f'<td class="source">{source}</td></tr>'
        )
        for finding in findings[number]:
            yield f'<tr><td colspan="{len(_HEADERS)}"></td><td class="source inline">{_finding(finding)}</td></tr>'
    yield "</tbody></table></div>"


def _anchor(place: int, line: int) -> str:
    return f"f{place}-{line}"


def _cells(lines: list[Line]) -> str:
    columns = (
        ("access", [(f"{line.access} {line.space}", 0.0) for line in lines]),
        ("", [(str(line.requests), 0.0) for line in lines]),
        ("", [_measured(line.sectors_per_request, line.sectors_needed) for line in lines]),
        ("", [_measured(line.sectors_needed, line.sectors_needed) for line in lines]),
        ("", [_measured(line.bank_ways, 1.0) for line in lines]),
    )
    return "".join(_cell(name, entries) for name, entries in columns)


def _measured(value: float | None, ideal: float | None) -> tuple[str, float]:
    """A number and how hot it is: 0 at the ideal, 1 at sixteen times that."""
    if value is None:
        return "", 0.0
    times = value / ideal if ideal else 1.0
    return f"{value:.4g}", min(1.0, max(0.0, (times - 1) / 15) ** 0.5)


def _cell(name: str, entries: list[tuple[str, float]]) -> str:
    heat = max((part for _, part in entries), default=0.0)
    names = " ".join(filter(None, (name, "heat" if heat > 0.1 else "")))
    style = f' style="--part: {0.1 + 0.5 * heat:.2f}"' if heat > 0.1 else ""
    return f'<td class="{names}"{style}>' + "<br>".join(html.escape(text) for text, _ in entries) + "</td>"


def _highlighted(text: str) -> list[str]:
    """The lines as HTML; a comment over several lines is closed and opened again at each end."""
    parts, place = [], 0
    for match in _HIGHLIGHTED.finditer(text):
        parts.append(html.escape(text[place : match.start()], quote=False))
        opening = f'<span class="{match.lastgroup}">'
        parts.append(opening + html.escape(match.group(), quote=False).replace("\n", f"</span>\n{opening}") + "</span>")
        place = match.end()
    return ("".join(parts) + html.escape(text[place:], quote=False)).split("\n")
