"""The project's own CUDA kernels under the checker: builds them in check mode and tells it of the tensors they use."""

import contextlib
import ctypes
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import torch

from build_support.ninja_file import NinjaFile
from build_support.settings import Settings
from build_support.toolchain import find_cxx
from nnzoo_fast import _extension

ROOT = Path(__file__).resolve().parent.parent
NAME = "_cuemu_check"


def build():
    """`_cuemu_check`, the emulated kernels in check mode; what is up to date is not built again."""
    settings = Settings.from_environment()
    ninja = NinjaFile(ROOT, Path("build", "checked"), settings, find_cxx(settings.cxx))
    command = [sys.executable, "-m", "ninja", "-f", str(ninja.write([NAME])), "-j", str(settings.jobs or 2)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    path = ROOT / ninja.module_path(NAME)
    spec = importlib.util.spec_from_file_location(NAME, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    functions = ctypes.CDLL(str(path))
    functions.cuemu_check_end.restype = ctypes.c_char_p
    return module, functions


class Session:
    """Between `begin` and `end` the backend `cuemu` runs in check mode, and `report` is there afterwards.

    A tensor's whole storage is one buffer of its own, known from the moment when a kernel asks for its address; it is
    initialised unless one of torch's functions for empty tensors has just made it.
    """

    def __init__(self, module, functions):
        self.part = _extension.Part(module, "")
        self.functions = functions
        self.report = None

    @contextlib.contextmanager
    def open(self):
        self.storages = {}  # kept alive, so that no address comes twice
        replaced = [
            (_extension, "part", self._part),
            (_extension, "load", lambda name: self._part(name).module),
            (torch.Tensor, "data_ptr", lambda tensor: self._data_ptr(tensor)),
            *((torch, name, self._empty(getattr(torch, name))) for name in ("empty", "empty_like")),
            (torch.Tensor, "new_empty", self._empty(torch.Tensor.new_empty)),
            *((torch.Tensor, name, self._writing(getattr(torch.Tensor, name))) for name in ("copy_", "fill_", "zero_")),
        ]
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
        self.real_part, self.real_data_ptr = _extension.part, torch.Tensor.data_ptr
        self.functions.cuemu_check_begin()
        try:
            for owner, name, value in replaced:
                setattr(owner, name, value)
            yield self
        finally:
            for owner, name, value in before:
                setattr(owner, name, value)
            self.report = json.loads(self.functions.cuemu_check_end())

    def _part(self, name):
        return self.part if name == "_cuemu" else self.real_part(name)

    def _tell(self, tensor, initialised):
        storage = tensor.untyped_storage()
        if storage.data_ptr() in self.storages or storage.nbytes() == 0:
            return
        self.storages[storage.data_ptr()] = storage
        address, size = ctypes.c_void_p(storage.data_ptr()), ctypes.c_size_t(storage.nbytes())
        name = f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        self.functions.cuemu_check_buffer(address, size, int(initialised), name.encode())

    def _data_ptr(self, tensor):
        self._tell(tensor, True)
        return self.real_data_ptr(tensor)

    def _writing(self, function):
        def write(tensor, *args, **kwargs):
            result = function(tensor, *args, **kwargs)
            begin, size = self.real_data_ptr(tensor), tensor.numel() * tensor.element_size()
            assert tensor.is_contiguous(), "which bytes of a strided tensor are written is not told"
            self.functions.cuemu_check_written(ctypes.c_void_p(begin), ctypes.c_size_t(size))
            return result

        return write

    def _empty(self, function):
        def empty(*args, **kwargs):
            tensor = function(*args, **kwargs)
            if tensor.device.type == "cpu":
                self._tell(tensor, False)
            return tensor

        return empty
