"""Compiles the emulator and CUDA files into a library, and calls it."""

import ctypes
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
ORDERS = ("forward", "reverse", "random:1", "random:2")
FLAGS = (
    "-std=c++17 -O2 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -Wno-unknown-pragmas -DNNZOO_CUEMU -pthread".split()
)
INCLUDE = [f"-I{ROOT / folder}" for folder in ("csrc", "csrc/cuemu/command/include", "tests/cuemu")]
CXX = next(filter(shutil.which, ("g++", "c++", "clang++")), None)


def compile_library(directory, runtime=None, kernels="*", extra=()):
    """The emulator and tests/cuemu/`kernels`.cu, patterns with spaces between, as one library in `directory`.
    `runtime`: the emulator's objects, if they are there already."""
    sources = [path for pattern in kernels.split() for path in (ROOT / "tests/cuemu").glob(f"{pattern}.cu")]
    sources += [] if runtime else (ROOT / "csrc/cuemu").glob("*.cpp")
    objects = [directory / f"{source.name}.o" for source in sources]
    compiler = ["ccache", CXX] if shutil.which("ccache") else [CXX]

    def compile_one(source, target):
        language = ["-x", "c++"] if source.suffix == ".cu" else []
        command = [*compiler, *FLAGS, *extra, *INCLUDE, *language, "-c", str(source), "-o", str(target)]
        subprocess.run(command, check=True, cwd=ROOT)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_one, sources, objects))
    path = directory / "libkernels.so"
    objects = map(str, [*(runtime or []), *objects])
    subprocess.run([CXX, "-shared", "-pthread", *objects, "-o", str(path)], check=True)
    return Library(path)


def compiles(directory, text):
    """Whether a file that begins with the emulator's header and goes on with `text` is accepted."""
    source = directory / "kernel.cu"
    source.write_text(f'#include "cuemu/cuda.h"\n{text}\n')
    command = [CXX, *FLAGS, *INCLUDE, "-x", "c++", "-c", str(source), "-o", str(directory / "kernel.o")]
    return subprocess.run(command, capture_output=True).returncode == 0


class Library:
    """Calls the exported functions with numpy arrays and numbers; an error text becomes a RuntimeError."""

    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))

    def __getattr__(self, name):
        function = getattr(self.library, name)
        function.restype = ctypes.c_char_p

        def call(*args):
            error = function(*(ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in args))
            if error is not None:
                raise RuntimeError(error.decode())

        return call
