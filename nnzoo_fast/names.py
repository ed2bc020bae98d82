"""What to say of a name that nothing has."""

import difflib
from collections.abc import Iterable


def hint(name: object, known: Iterable[str]) -> str:
    """The nearest of the `known` names, or all of them where none is near."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
