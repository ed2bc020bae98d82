"""Finds the compilers and asks them what they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from build_support.settings import BuildError

Command = tuple[str, ...]


def find_cxx(requested: Command | None) -> Command | None:
    """The C++ compiler's command, or None where there is none. g++ first: it shares OpenMP's runtime with torch."""
    if requested:
        if shutil.which(requested[0]) is None:
            raise BuildError(f"CXX names {requested[0]!r}, which is not an executable file")
        return requested
    found = next(filter(shutil.which, ("g++", "c++", "clang++")), None)
    return (found,) if found else None


def find_nvcc() -> str | None:
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def with_cache(command: Command) -> Command:
    """`command` behind ccache, where that is installed and the command does not name a cache already."""
    cached = shutil.which("ccache") and "cache" not in command[0]
    return ("ccache", *command) if cached else command


def ask(*command: str) -> str:
    """A tool's output. A tool that fails is an error that shows what the tool said."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise BuildError(f"`{' '.join(command)}` failed with exit status {done.returncode}:\n{done.stdout}")
    return done.stdout


def accepts(cxx: Command, flags: list[str]) -> bool:
    """Whether the compiler knows `flags`."""
    command = [*cxx, *flags, "-x", "c++", "-E", os.devnull]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def targets_x86(cxx: Command) -> bool:
    return ask(*cxx, "-dumpmachine").startswith("x86_64")


def python_include() -> str:
    directory = sysconfig.get_path("include")
    if not Path(directory, "Python.h").exists():
        raise BuildError(
            f"there is no Python.h in {directory}: install Python's development files (python3-dev or python3-devel), "
            "or set NNZOO_BUILD_CPU=0 for a pure-Python package"
        )
    return directory


def cuda_include_flags(nvcc: str) -> list[str]:
    """The flags that let a plain C++ compiler see the CUDA runtime's headers; nvcc may be a wrapper, so it is asked."""
    for line in ask(nvcc, "--dryrun", "-c", "any.cu").splitlines():
        if line.startswith("#$ INCLUDES="):
            directories = line.partition("=")[2].replace('"', "").split()
            return ["-isystem" + directory.removeprefix("-I") for directory in directories]
    raise BuildError(f"`{nvcc} --dryrun` does not say where the CUDA headers are")
