"""Which tokens are a declaration, which a function, and in which namespaces they stand.

This is no parser: it follows brackets, and of what stands before a `{` or `;` it asks only what a rewriter of CUDA has
to know. What it looks at has passed the preprocessor, so there are no macros to be misled by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nnzoo_fast.cuemu.tokens import Token

NAMESPACE, CLASS, FUNCTION, OTHER = "namespace", "class", "function", "other"
_OPENING, _CLOSING = "([", ")]"
_CLASS_WORDS = {"struct", "class", "union", "enum"}


@dataclass
class Piece:
    """`head`: the tokens before the `{` or `;`. `body`: those of `{`...`}`, None for a declaration."""

    head: list[Token]
    body: list[Token] | None
    scopes: tuple[str, ...]
    at_namespace_level: bool


@dataclass
class _Scope:
    kind: str
    name: str
    head: list[Token]
    brackets: int
    opening: int


def pieces(tokens: list[Token]) -> Iterator[Piece]:
    """Every declaration that ends in `;` and, where it ends, every function with a body, in any scope.

    Args:
        tokens: those that count, without white space and directives.
    """
    stack: list[_Scope] = []
    head: list[Token] = []
    brackets = 0
    for place, token in enumerate(tokens):
        if token.kind == "opaque":
            head = []
        elif token.text == "{":
            kind, name = _scope_of(head) if not brackets else (OTHER, "")
            stack.append(_Scope(kind, name, head, brackets, place))
            head, brackets = [], 0
        elif token.text == "}" and stack:
            scope = stack.pop()
            brackets = scope.brackets
            head = [*scope.head, token] if brackets else []
            if scope.kind == FUNCTION:
                yield Piece(scope.head, tokens[scope.opening : place + 1], *_around(stack))
        elif token.text == ";" and not brackets:
            yield Piece(head, None, *_around(stack))
            head = []
        else:
            brackets += (token.text in _OPENING) - (token.text in _CLOSING)
            head.append(token)


def _around(stack: list[_Scope]) -> tuple[tuple[str, ...], bool]:
    names = tuple(name for scope in stack if (name := scope.name))
    return names, all(scope.kind == NAMESPACE for scope in stack)


def _scope_of(head: list[Token]) -> tuple[str, str]:
    texts = [token.text for token in without_template_header(head)]
    if "namespace" in texts[:2]:  # `inline namespace` is one, too
        return NAMESPACE, "::".join(t for t in texts if t not in ("namespace", "inline", "::"))
    if texts[:1] == ["extern"] and head[-1].kind == "string":
        return NAMESPACE, ""
    if _CLASS_WORDS & set(texts[:2]) and texts[-1] != ")":
        return CLASS, next((name.text for name in names_not_called(head) if name.text not in _CLASS_WORDS), "")
    if ")" in texts and "=" not in _outside_brackets(texts):
        return FUNCTION, ""
    return OTHER, ""


def _outside_brackets(texts: list[str]) -> list[str]:
    depth, outside = 0, []
    for text in texts:
        depth -= text in _CLOSING
        if not depth:
            outside.append(text)
        depth += text in _OPENING
    return outside


def without_template_header(head: list[Token]) -> list[Token]:
    """`head` after its `template <...>`s."""
    while head and head[0].text == "template":
        depth = 0
        for place, token in enumerate(head[1:], 1):
            depth += angle(token)
            if depth == 0:
                head = head[place + 1 :]
                break
        else:
            return []
    return head


def names_not_called(head: list[Token]) -> Iterator[Token]:
    """The names outside brackets that no `(` follows: those of attributes and `alignas` are left out."""
    head, depth = without_template_header(head), 0
    for token, after in zip(head, [*head[1:], None], strict=True):
        depth -= token.text in _CLOSING
        if token.kind == "name" and not depth and not (after and after.text == "("):
            yield token
        depth += token.text in _OPENING


def angle(token: Token) -> int:
    """By how much a token opens (positive) or closes template brackets."""
    return {"<": 1, "<<": 2, ">": -1, ">>": -2}.get(token.text, 0)


def matching(tokens: list[Token], place: int) -> int:
    """The place of the bracket that closes the one at `place`, or len(tokens)."""
    depth = 0
    for end in range(place, len(tokens)):
        depth += (tokens[end].text in ("(", "[", "{")) - (tokens[end].text in (")", "]", "}"))
        if depth == 0:
            return end
    return len(tokens)
