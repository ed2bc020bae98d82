"""Fresh interpreters, for tests of what happens at import."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

# An editable install of this checkout would lend its compiled modules to any other copy of the package.
WITHOUT_EDITABLE_INSTALLS = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "__name__", "") != "_EditableFinder"]
"""


def run_python(code: str, package_root: Path, **environment: str) -> subprocess.CompletedProcess:
    """Runs `code` with this environment's torch and the package in `package_root`, warnings shown every time."""
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", WITHOUT_EDITABLE_INSTALLS + textwrap.dedent(code)],
        cwd=package_root,
        env={**os.environ, "PYTHONPATH": str(package_root), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def printed(code: str, package_root: Path, **environment: str) -> str:
    """What `code` prints; anything but success fails the test with the interpreter's own message."""
    done = run_python(code, package_root, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
