"""Room between the shared arrays of a kernel that is checked, so that an overrun of one does not end in the next.

A `__shared__` array is a thread-local variable, and the compiler puts one right behind the other. This reads the
assembly that g++ writes and leaves a gap after each of them; the checker knows from the symbols where arrays end.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

GAP_BYTES = 64

_SECTION = re.compile(r"\s*\.(?:section\s+(\S+?)(?:,|$)|(text|data|bss|previous|popsection|pushsection)\b)")
_ZEROS = re.compile(r"\s*\.zero\s+\d+\s*$")


def apart(assembly: str) -> str:
    """The assembly with gaps after its thread-local variables that start as zero, as all shared ones do."""
    lines, in_thread_local = [], False
    for line in assembly.splitlines():
        if section := _SECTION.match(line):
            in_thread_local = (section.group(1) or "").startswith(".tbss")
        lines.append(line)
        if in_thread_local and _ZEROS.match(line):
            lines.append(f"\t.zero\t{GAP_BYTES}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(apart(file.read_text()))
