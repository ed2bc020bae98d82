"""Preprocessed C++ as a list of tokens whose texts can be exchanged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<directive> ^\#[^\n]* )
  | (?P<space>     \s+ )
  | (?P<string>    (?:u8|[uUL])?
                   (?: R"(?P<fence>[^()\\\s]*)\((?:.|\n)*?\)(?P=fence)" | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)+' ) )
  | (?P<name>      [A-Za-z_$]\w* )
  | (?P<number>    \.?\d (?: [eEpP][+-] | '\w | [\w.] )* )
  | (?P<sign>      :: | -> | << | >> | . )
    """,
    re.VERBOSE | re.MULTILINE,
)
_LINE_MARKER = re.compile(r'^# (\d+) "((?:[^"\\\n]|\\.)*)"([ \d]*)\n?', re.MULTILINE)


@dataclass
class Token:
    """`text` may be changed; `file` and `line` say where the token came from."""

    kind: str
    text: str
    file: str
    line: int


def tokenize(text: str, opaque: Callable[[str], bool]) -> list[Token]:
    """The tokens of preprocessed text, in order; their texts joined are the whole text.

    Args:
        text: output of `g++ -E`: no comments and no macros, only line markers and pragmas.
        opaque: `opaque(file)` says of a system header that nobody needs to look inside; what of it stands between two
            line markers becomes one token of kind "opaque".
    """
    tokens: list[Token] = []
    skipped: set[str] = set()
    file, line, start = "", 1, 0

    def between(end: int) -> Iterator[Token]:
        stretch = text[start:end]
        if stretch and file in skipped:
            yield Token("opaque", stretch, file, line)
        elif stretch:
            yield from _tokens(stretch, file, line)

    for marker in _LINE_MARKER.finditer(text):
        tokens.extend(between(marker.start()))
        file, flags = re.sub(r"\\(.)", r"\1", marker.group(2)), marker.group(3).split()
        # Only where it is entered: what a system header's macro becomes in a user's line bears the mark 3 as well.
        if {"1", "3"} <= set(flags) and opaque(file):
            skipped.add(file)
        line, start = int(marker.group(1)), marker.end()
        tokens.append(Token("directive", marker.group(), file, line))
    tokens.extend(between(len(text)))
    return tokens


def _tokens(stretch: str, file: str, line: int) -> Iterator[Token]:
    for match in _TOKEN.finditer(stretch):
        yield Token(match.lastgroup, match.group(), file, line)
        line += match.group().count("\n")
