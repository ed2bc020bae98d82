"""What tests of the emulator compile, once for all workers of a test run."""

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path

from nnzoo_fast.cuemu import compiler


def shared_folder(tmp_path_factory):
    """The same for all workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def cache_of(tmp_path_factory):
    """What XDG_CACHE_HOME is for these tests."""
    return shared_folder(tmp_path_factory) / "cuemu-cache"


@contextmanager
def alone(folder):
    """While one worker is in here, the others wait."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def runtime_objects(tmp_path_factory):
    """The emulator's and the checker's object files, those of the command line."""
    cache, before = cache_of(tmp_path_factory), os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(cache)
    try:
        with alone(cache):
            objects = compiler.runtime_objects()
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before
    return [path for path in objects if not path.name.startswith("cuemu-command-")]
