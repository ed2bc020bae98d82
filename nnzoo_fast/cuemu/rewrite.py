"""CUDA's own syntax as C++ that g++ reads: launches, shared memory, qualifiers.

It works on what the preprocessor leaves, so comments, macros and includes are out of the way, and it keeps every line
where it was: what the compiler and the checker say afterwards bears the user's own line numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from nnzoo_fast.cuemu import scopes
from nnzoo_fast.cuemu.tokens import Token, tokenize

_DYNAMIC = "::cuemu::command::DynamicShared()"
MAIN = "cuemu_main_of_the_user"


@dataclass(frozen=True)
class Kernel:
    """A `__global__` function as it stands in the file. `template` is its template header or empty."""

    name: str
    parameters: str
    template: str
    file: str
    line: int
    cluster: str = ""  # what stands in the parentheses of __cluster_dims__

    def __str__(self) -> str:
        return f"{self.template} {self.name}({self.parameters})".lstrip()


@dataclass(frozen=True)
class Rewritten:
    text: str
    kernels: tuple[Kernel, ...]
    has_main: bool


def rewrite(preprocessed: str, opaque: Callable[[str], bool], words: dict[str, str]) -> Rewritten:
    """What `preprocessed`, the output of `g++ -E`, is in plain C++.

    Args:
        opaque: `opaque(file)` is true of system headers without CUDA in them (`tokenize`).
        words: what CUDA's qualifiers are in C++: `{"__shared__": "static thread_local", "__global__": "", ...}`.
    """
    tokens = tokenize(preprocessed, opaque)
    code = [token for token in tokens if token.kind not in ("space", "directive")]
    kernels: list[Kernel] = []
    file_scope: dict[str, str] = {}
    has_main = False
    for piece in list(scopes.pieces(code)):
        texts = {token.text for token in piece.head}
        if piece.body is None and "__shared__" in texts:
            _shared(piece, file_scope)
        elif "__global__" in texts:
            cluster = _cluster(piece.head)
            if piece.body:
                kernels += filter(None, [_kernel(piece, cluster)])
        elif piece.body and piece.at_namespace_level and not piece.scopes and _is_main(piece):
            has_main = True
        if piece.body and file_scope and texts & {"__global__", "__device__"}:
            _bring_in(piece, file_scope)
    _launches(code, kernels)
    for token in code:
        if token.kind == "name" and token.text in words:
            token.text = words[token.text]
    return Rewritten("".join(token.text for token in tokens), tuple(kernels), has_main)


def _cluster(head: list[Token]) -> str:
    """Takes `__cluster_dims__(...)` out of a kernel's head; what stands in it."""
    place = next((place for place, token in enumerate(head) if token.text == "__cluster_dims__"), None)
    if place is None:
        return ""
    end = scopes.matching(head, place + 1)
    size = _plain(head[place + 2 : end])
    for token in head[place : end + 1]:
        token.text = ""
    return size


def _kernel(piece: scopes.Piece, cluster: str) -> Kernel | None:
    """None for a specialisation: its template has been found before."""
    head = scopes.without_template_header(piece.head)
    template = _plain(piece.head[: len(piece.head) - len(head)])
    head = [token for token in head if token.text]
    place = _name_place(head)
    if place is None or template.endswith("<>"):
        return None
    end = scopes.matching(head, place + 1)
    name = "::".join([*piece.scopes, head[place].text])
    return Kernel(name, _plain(head[place + 2 : end]), template, head[place].file, head[place].line, cluster)


def _name_place(head: list[Token]) -> int | None:
    """Where the function's name stands in its head: the first name before a `(` that is no attribute."""
    place = 0
    while place + 1 < len(head):
        if head[place].kind == "name" and head[place + 1].text == "(":
            if not re.fullmatch(r"__\w+|alignas|decltype|noexcept", head[place].text):
                return place
            place = scopes.matching(head, place + 1)
        place += 1
    return None


def _plain(tokens: list[Token]) -> str:
    """Their text with the spaces that a person would write."""
    text = " ".join(token.text for token in tokens)
    text = re.sub(r" ?(::) ?", r"\1", text)
    return re.sub(r" (?=[,*&>\])])|(?<=[\[(<]) |(?<=\w) (?=[<\[(])", "", text)


def _is_main(piece: scopes.Piece) -> bool:
    """Renames it, and gives it the `return 0` that only a function called main has by itself."""
    place = _name_place(piece.head)
    if place is None or piece.head[place].text != "main":
        return False
    piece.head[place].text = MAIN
    piece.body[-1].text = "return 0;}"
    return True


def _shared(piece: scopes.Piece, file_scope: dict[str, str]) -> None:
    """`extern __shared__ T name[];` becomes a reference to the block's dynamic shared memory.

    Outside of functions there is no block yet, so the declaration moves into the functions that use it.
    """
    head = piece.head
    if not any(token.text == "extern" for token in head):
        for token in head:
            if token.text == "static":  # the word that stands for __shared__ brings its own
                token.text = ""
        return
    for token in head:
        if token.text in ("extern", "__shared__"):
            token.text = ""
    names = [_declare_reference(part) for part in _split(head)]
    if piece.at_namespace_level:
        declaration = " ".join(filter(None, (token.text for token in head))) + ";"
        for token in head:
            token.text = ""
        file_scope.update((name, declaration) for name in names)


def _split(head: list[Token]) -> list[list[Token]]:
    """The declarators of a declaration, the first with the type before it."""
    parts, depth = [[]], 0
    for token in head:
        depth += scopes.angle(token) + (token.text in ("(", "[")) - (token.text in (")", "]"))
        if token.text == "," and not depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _declare_reference(part: list[Token]) -> str:
    name = [token for token in scopes.names_not_called(part) if token.text][-1]
    text = name.text
    name.text = f"(&{text})"
    part[-1].text += f" = {_DYNAMIC}"
    return text


def _bring_in(piece: scopes.Piece, file_scope: dict[str, str]) -> None:
    """In a block around the body, so that the function's own variables may bear the same names."""
    taken = {token.text for token in piece.head}
    used = {token.text for token in piece.body}
    wanted = dict.fromkeys(declaration for name, declaration in file_scope.items() if name in used - taken)
    if wanted:
        piece.body[0].text += " ".join(wanted) + "{"
        piece.body[-1].text += "}"


def _launches(code: list[Token], kernels: list[Kernel]) -> None:
    """`f<<<shape>>>(arguments)` becomes `Launch("f", Shape(shape), &f)(a lambda that calls f)(arguments)`."""
    for place in range(1, len(code) - 1):
        opening = code[place].text == "<<" and code[place + 1].text == "<" and code[place - 1].text != "operator"
        if not opening:
            continue
        close = _closing(code, place + 2)
        start = _callee(code, place)
        if close is None or start is None or code[close + 2].text != "(":
            continue  # the compiler will show the line
        end = scopes.matching(code, close + 2)
        callee = _plain(code[start:place])
        for token in code[start:place]:
            token.text = ""
        for token in code[close + 3 : end]:
            if token.text == "__null":  # a null pointer loses its nature on the way through a function
                token.text = "nullptr"
        literal = callee.replace("\\", "\\\\").replace('"', '\\"')
        code[place].text, code[place + 1].text = f'::cuemu::command::Launch("{literal}", ::cuemu::command::Shape(', ""
        code[close].text = f"), {_address(callee, kernels)})"
        code[close + 1].text = f"([&](auto... cuemu_arguments) {{ {callee}(cuemu_arguments...); }})"


def _address(callee: str, kernels: list[Kernel]) -> str:
    """Of the kernel, where its name says which one it is: a template's arguments may follow from the call."""
    known = [kernel for kernel in kernels if kernel.name.split("::")[-1] == callee.split("::")[-1]]
    unique = len(known) == 1 and not known[0].template
    return f"reinterpret_cast<const void*>(&{callee})" if unique else "nullptr"


def _closing(code: list[Token], place: int) -> int | None:
    """Where `>>>` begins: read as `>>` and `>`."""
    while place + 2 < len(code):
        if code[place].text in ("(", "[", "{"):
            place = scopes.matching(code, place)
        elif code[place].text in (";", ")", "}"):
            return None
        elif code[place].text == ">>" and code[place + 1].text == ">":
            return place
        place += 1
    return None


def _callee(code: list[Token], end: int) -> int | None:
    """Where the expression begins that stands before the launch at `end`: `f`, `a::f<8>`, `table[i]`, `(*f)`."""
    place = end - 1
    while place >= 0:
        if code[place].text in (">", ">>"):
            place = _before(code, place, scopes.angle)
        elif code[place].text in (")", "]"):
            place = _before(code, place, _round_or_square)
            if not _is_operand(code[place]):
                return place + 1
            continue
        if place < 0 or not _is_operand(code[place]):
            return None
        if place > 0 and code[place - 1].text == "template":
            place -= 1
        if place == 0 or code[place - 1].text not in ("::", ".", "->"):
            return place
        place -= 2
        if not (_is_operand(code[place]) or code[place].text in (">", ">>", ")", "]")):
            return place + 1  # a global name: `::kernel`
    return None


def _is_operand(token: Token) -> bool:
    return token.kind == "name" and token.text not in ("return", "else", "do", "if", "for", "while", "switch", "case")


def _round_or_square(token: Token) -> int:
    return (token.text in ("(", "[")) - (token.text in (")", "]"))


def _before(code: list[Token], place: int, step: Callable[[Token], int]) -> int:
    """The place before the bracket that opens what closes at `place`."""
    depth = 0
    while place >= 0:
        if step is scopes.angle and code[place].text == ")":
            place = _before(code, place, _round_or_square)
            continue
        depth += step(code[place])
        place -= 1
        if depth == 0:
            return place
    return -1
