"""Builds `.cu` files in check mode and opens check sessions; csrc/cuemu/check/README.md has the contract."""

import ctypes
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from nnzoo_fast.cuemu import red_zones

ROOT = Path(__file__).resolve().parent.parent
CHECKER = ROOT / "csrc/cuemu/check"
CXX = next(filter(shutil.which, ("g++", "c++")), None)
FLAGS = "-std=c++17 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -Wno-unknown-pragmas -DNNZOO_CUEMU -pthread".split()


def build(directory, runtime, kernels, include=()):
    """Links `kernels`, instrumented, with the emulator's and the checker's objects; returns the library's path."""
    compiler = ["ccache", CXX] if shutil.which("ccache") else [CXX]
    paths = [f"-I{path}" for path in (ROOT / "csrc", ROOT / "csrc/cuemu/command/include", *include)]

    def compile_one(source):
        target = directory / f"{source.name}.o"
        mode = ["-x", "c++", f"@{CHECKER / 'flags'}"]
        assembly = target.with_suffix(".s")
        subprocess.run([*compiler, *FLAGS, *paths, *mode, "-S", source, "-o", assembly], check=True, cwd=ROOT)
        assembly.write_text(red_zones.apart(assembly.read_text()))
        subprocess.run([CXX, "-c", assembly, "-o", target], check=True)
        return str(target)

    with ThreadPoolExecutor(2) as pool:
        objects = [*map(str, runtime), *pool.map(compile_one, kernels)]
    path = Path(directory) / "libchecked.so"
    subprocess.run([CXX, "-shared", "-pthread", *objects, "-o", str(path)], check=True)
    return path


class Library:
    """One check session after the other on a library that `build` has made."""

    def __init__(self, path):
        self.functions = ctypes.CDLL(str(path))
        self.functions.cuemu_check_allocate.restype = ctypes.c_void_p
        self.functions.cuemu_check_end.restype = ctypes.c_char_p

    def begin(self):
        self.functions.cuemu_check_begin()

    def end(self):
        return json.loads(self.functions.cuemu_check_end())

    def array(self, name, values=None, shape=None, dtype=np.float32):
        """A guarded array, with `values` or, of that shape, not initialised."""
        if values is not None:
            shape, dtype = values.shape, values.dtype
        count = int(np.prod(shape))
        size = count * np.dtype(dtype).itemsize
        address = self.functions.cuemu_check_allocate(ctypes.c_size_t(size), int(values is not None), name.encode())
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)).view(dtype).reshape(shape)
        if values is not None:
            array[...] = values
        return array

    def call(self, name, *args):
        """The text of an error, or None."""
        function = getattr(self.functions, name)
        function.restype = ctypes.c_char_p
        error = function(*(ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in args))
        return None if error is None else error.decode()
