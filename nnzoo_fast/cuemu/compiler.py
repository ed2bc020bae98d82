"""The compiler, the emulator's sources, and the emulator's own object files."""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nnzoo_fast.cuemu import cache
from nnzoo_fast.cuemu.errors import CompileError, UsageError

LANGUAGE = ["-std=c++17", "-DNNZOO_CUEMU", "-Wno-unknown-pragmas"]
_RUNTIME_FLAGS = [*LANGUAGE, "-O2", "-g1", "-fPIC", "-fvisibility=hidden", "-pthread"]


@functools.cache
def compiler() -> tuple[str, ...]:
    """The command of g++: CXX, if that is set.

    Raises:
        UsageError: there is none.
    """
    command = tuple(shlex.split(os.environ.get("CXX", ""))) or ("g++",)
    if shutil.which(command[0]) is None:
        where = "CXX names it" if os.environ.get("CXX") else "install it (apt install g++, dnf install gcc-c++)"
        raise UsageError(f"kernels are compiled with g++, and there is no {command[0]} on PATH: {where}")
    return command


@functools.cache
def sources() -> Path:
    """The folder that holds `cuemu/`: beside this file where the package was installed, `csrc` in a checkout."""
    here = Path(__file__).resolve().parent
    found = next((path for path in (here / "csrc", here.parents[1] / "csrc") if (path / "cuemu").is_dir()), None)
    if found is None:
        raise UsageError("this installation lacks the emulator's sources; a wheel and a checkout have them")
    return found


def run(*command: str | Path) -> str:
    """A compiler's standard output.

    Raises:
        CompileError: it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        raise CompileError(done.stderr or f"`{shlex.join(map(str, command))}` failed with status {done.returncode}")
    return done.stdout


@functools.cache
def toolchain_key() -> str:
    """Stands for the compiler's version and every byte of the emulator's sources."""
    digest = hashlib.sha256(run(*compiler(), "--version").encode())
    digest.update(repr((compiler(), _RUNTIME_FLAGS)).encode())
    for path in sorted((sources() / "cuemu").rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(sources())).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def runtime_objects() -> list[Path]:
    """The emulator's own object files, compiled on first use. They serve both modes: checked is the kernel only."""
    found = cache.entry(f"runtime-{toolchain_key()[:32]}", _compile_runtime)
    return sorted(found.glob("*.o"))


def _compile_runtime(folder: Path) -> None:
    root = sources()

    def compile_one(path: Path) -> None:
        target = folder / f"{'-'.join(path.relative_to(root).with_suffix('').parts)}.o"
        run(*compiler(), *_RUNTIME_FLAGS, f"-I{root}", "-c", path, "-o", target)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(compile_one, sorted((root / "cuemu").rglob("*.cpp"))))
