"""What was compiled once is kept: a folder per entry below the user's cache folder.

An entry is made in a folder of its own and takes its place in one step, so several processes may build the same one:
the first wins, and nobody ever sees half an entry.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nnzoo_fast.cuemu.errors import UsageError

_KEPT_SECONDS = 30 * 24 * 3600  # since its last use


def folder() -> Path:
    """`$XDG_CACHE_HOME/nnzoo_fast/cuemu` or `~/.cache/nnzoo_fast/cuemu`, readable by its owner only.

    Raises:
        UsageError: it can't be made, or belongs to somebody else, who could put programs into it.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base, "nnzoo_fast", "cuemu")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise UsageError(f"the cache folder {path} is not a folder of yours; XDG_CACHE_HOME names another place")
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise UsageError(f"can't use {path} as cache: {error.strerror}; XDG_CACHE_HOME names another place") from None
    return path


def entry(name: str, make: Callable[[Path], None]) -> Path:
    """The entry `name`, a folder; `make(folder)` fills it if it is not there yet."""
    parent = folder()
    path = parent / name
    if path.is_dir():
        with contextlib.suppress(OSError):
            os.utime(path)
        return path
    _drop_old(parent)
    building = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}."))
    try:
        make(building)
        os.utime(building)
        with contextlib.suppress(OSError):  # another process was faster: its entry is as good
            building.rename(path)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return path


def _drop_old(parent: Path) -> None:
    for path in parent.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
