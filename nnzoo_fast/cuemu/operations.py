"""This package's own operations under the checker: their CUDA kernels, built in check mode, on the caller's tensors."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import backend
from nnzoo_fast.cuemu import report as reports
from nnzoo_fast.cuemu.errors import UsageError
from nnzoo_fast.cuemu.report import Report

MODULE = "_cuemu_check"


def check(function: Callable, args: Sequence, orders: Sequence[str]) -> Report:
    """Calls `function(*args)` once in each schedule, with the operations in it on the backend `cuemu`."""
    module, reason = _extension.part(MODULE)
    if module is None:
        raise UsageError(f"{reason}: NNZOO_BUILD_CUEMU=check builds the operations' kernels in check mode")
    found = []
    for order in orders:
        session = Session(module)
        with _environment("CUEMU_ORDER", order), session.open(), backend("cuemu"):
            function(*args)
        found.append(reports.from_json(session.report))
    return reports.merged(found)


class Session:
    """While `open`, the backend `cuemu` runs in check mode; `report` is there afterwards, as the checker's JSON has it.

    A tensor's whole storage is one buffer, which the checker is told of when somebody asks for its address. It is
    initialised unless it comes from one of torch's functions for empty tensors and neither torch nor a kernel of
    another backend has written to it since.
    """

    def __init__(self, module: ModuleType):
        self.part = _extension.Part(_Listening(module, self._runs), "")
        self.functions = ctypes.CDLL(module.__file__)
        self.functions.cuemu_check_end.restype = ctypes.c_char_p
        self.report: dict | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[Session]:
        self.storages = {}  # by their address; kept alive, so that none comes twice
        self.versions = {}  # of the empty ones: what torch had written to them when last seen
        self.asked = Counter()  # how often each address was asked for since the last call of a kernel
        self.real_part, self.real_data_ptr = _extension.part, torch.Tensor.data_ptr
        replaced = [
            (_extension, "part", self._part),
            (_extension, "load", lambda name: self._part(name).module),
            (torch.Tensor, "data_ptr", lambda tensor: self._data_ptr(tensor)),
            *((torch, name, self._empty(getattr(torch, name))) for name in ("empty", "empty_like")),
            (torch.Tensor, "new_empty", self._empty(torch.Tensor.new_empty)),
        ]
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
        self.functions.cuemu_check_begin()
        try:
            for owner, name, value in replaced:
                setattr(owner, name, value)
            yield self
        finally:
            for owner, name, value in before:
                setattr(owner, name, value)
            self.report = json.loads(self.functions.cuemu_check_end())

    def _part(self, name: str) -> _extension.Part:
        return self.part if name == "_cuemu" else self.real_part(name)

    def _tell(self, tensor: torch.Tensor, initialised: bool) -> None:
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address in self.storages or storage.nbytes() == 0:
            return
        self.storages[address] = storage
        if not initialised:
            self.versions[address] = _version(tensor)
        name = f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        place = ctypes.c_void_p(address), ctypes.c_size_t(storage.nbytes())
        self.functions.cuemu_check_buffer(*place, int(initialised), name.encode())

    def _data_ptr(self, tensor: torch.Tensor) -> int:
        self._tell(tensor, initialised=True)
        storage = tensor.untyped_storage()
        address, version = storage.data_ptr(), _version(tensor)
        if self.versions.get(address, version) != version:
            self.versions[address] = version
            self._written(address)
        if address in self.versions:
            self.asked[address] += 1
        return self.real_data_ptr(tensor)

    def _written(self, address: int) -> None:
        size = ctypes.c_size_t(self.storages[address].nbytes())
        self.functions.cuemu_check_written(ctypes.c_void_p(address), size)

    def _runs(self, args: Sequence) -> None:
        """A kernel is about to run. Addresses that it does not get were for a kernel of the CPU, which has written."""
        given = Counter(_numbers(args))
        for address, times in self.asked.items():
            if times > given[address]:
                self._written(address)
        self.asked.clear()

    def _empty(self, function: Callable) -> Callable:
        def empty(*args, **kwargs):
            tensor = function(*args, **kwargs)
            if tensor.device.type == "cpu":
                self._tell(tensor, initialised=False)
            return tensor

        return empty


def _numbers(args: Iterable) -> Iterator[int]:
    """The integers among a kernel's arguments and in their lists."""
    for arg in args:
        if isinstance(arg, int):
            yield arg
        elif isinstance(arg, (list, tuple)):
            yield from _numbers(arg)


class _Listening:
    """A module each of whose functions tells `listener` its arguments first."""

    def __init__(self, module: ModuleType, listener: Callable[[Sequence], None]):
        self._module = module
        self._listener = listener

    def __getattr__(self, name: str):
        function = getattr(self._module, name)
        if not callable(function):
            return function

        def call(*args):
            self._listener(args)
            return function(*args)

        return call


def _version(tensor: torch.Tensor) -> int:
    """Counts what torch writes to a tensor; a kernel's writes are not among it. Inference tensors have none."""
    return 0 if tensor.is_inference() else tensor._version


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
