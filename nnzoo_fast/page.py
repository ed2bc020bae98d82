"""A report as one self-contained HTML page, written by the benchmarks and by the main job."""

from __future__ import annotations

import contextlib
import html
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

_STYLE = """
:root { color-scheme: light; --ink: #1d2733; --faint: #5d6b7a; --line: #dde3ea; --accent: #0b7285; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 70rem;
  margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; }
p { max-width: 50rem; margin: .5rem 0; } p.lead { font-size: 1.1rem; } p.note { color: var(--faint); font-size: .9rem; }
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid var(--line); vertical-align: bottom; }
td { border-bottom: 1px solid var(--line); white-space: nowrap; } th, td { padding: .3rem .8rem .3rem 0; }
td.number, th.number { text-align: right; } td.bad { color: #b3261e; font-weight: 600; }
td.good { color: #1b6e3c; } figure { margin: .75rem 0; } figure svg { max-width: 100%; height: auto; }
figcaption { color: var(--faint); font-size: .9rem; max-width: 50rem; }
"""


class Cell(str):
    """Text of a table cell that stands out: `mark` is "good" or "bad"."""

    mark: str

    def __new__(cls, text: str, mark: str) -> Cell:
        cell = super().__new__(cls, text)
        cell.mark = mark
        return cell


class Page:
    """Collects paragraphs, tables and figures in order; `write` puts them into one file."""

    def __init__(self, title: str, lead: str):
        self.title = title
        self._parts = [f"<h1>{html.escape(title)}</h1>", f'<p class="lead">{html.escape(lead)}</p>']

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def paragraph(self, text: str, note: bool = False) -> None:
        self._parts.append(f"{'<p class=note>' if note else '<p>'}{html.escape(text)}</p>")

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns whose cells all begin with a digit, a sign or a dash are set flush right."""
        numeric = [all(_is_number(row[place]) for row in rows) for place in range(len(headers))]
        lines = ['<div class="wide"><table><thead><tr>']
        lines += [_cell("th", text, number) for text, number in zip(headers, numeric, strict=True)]
        lines.append("</tr></thead><tbody>")
        for row in rows:
            lines.append("<tr>" + "".join(_cell("td", *pair) for pair in zip(row, numeric, strict=True)) + "</tr>")
        lines.append("</tbody></table></div>")
        self._parts.append("\n".join(lines))

    def figure(self, svg: str, caption: str) -> None:
        """`svg` is the text of an <svg> element; `caption` also describes it to those who can't see it."""
        self._parts.append(f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>")

    def write(self, path: Path) -> None:
        body = "\n".join(self._parts)
        document = (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.title)}</title>\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
            f"<body>\n{body}\n</body></html>\n"
        )
        with replacing(path) as temporary:
            temporary.write_text(document, encoding="utf-8")


def _cell(tag: str, text: str, number: bool) -> str:
    names = " ".join(filter(None, ("number" if number else "", getattr(text, "mark", ""))))
    opening = f'<{tag} class="{names}">' if names else f"<{tag}>"
    return f"{opening}{html.escape(text)}</{tag}>"


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in ("-", "+", "–", "")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place at the end; nothing stays of it if the block fails.

    Readers see the old file or the whole new one, also when the program is interrupted.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def writable_folder(path: Path) -> Path:
    """`path`, made if need be.

    Raises:
        OSError: it can't be made or written to.
    """
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        return path
