"""The `cuda` and `cuemu` rows of an operation's table: the same kernels, on a GPU and on the emulator (for tests)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Backend, Verdict, only_on_request

CUDA_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class Kernels(NamedTuple):
    """What a row needs of a module: functions as in `Backend`."""

    supports: Callable[..., Verdict]
    forward: Callable[..., tuple]
    backward: Callable[..., tuple]


def cuda_rows(module_name: str, *rungs: str) -> tuple[Backend, ...]:
    """The rows `cuda` and `cuemu`, then for each rung of the ladder below them `cuda_<rung>` and `cuemu_<rung>`.

    The module of this name has `supports`, `forward` and `backward`, and the `Kernels` of each rung in its `RUNGS`.
    None is chosen by itself: no table of GPU times says yet where these kernels beat stock torch.
    """
    rows = []
    for rung in (None, *rungs):
        for part in ("_cuda", "_cuemu"):
            name = part[1:] if rung is None else f"{part[1:]}_{rung}"
            rows.append(Backend(name, *_kernels(module_name, rung, part), only_on_request))
    return tuple(rows)


def _kernels(module_name: str, rung: str | None, part: str) -> Kernels:
    def found():
        # Not at the top: an operation's cuda.py imports its own package for `allocate`.
        module = importlib.import_module(module_name)
        return module if rung is None else module.RUNGS[rung]

    def supports(*args) -> Verdict:
        tensor = next(arg for arg in args if isinstance(arg, torch.Tensor))
        able, reason = _device_verdict(tensor, part)
        return found().supports(*args) if able else (able, reason)

    def forward(*args):
        return found().forward(*args)

    def backward(*args):
        return found().backward(*args)

    return Kernels(supports, forward, backward)


def _device_verdict(tensor: torch.Tensor, part: str) -> Verdict:
    wanted = "cuda" if part == "_cuda" else "cpu"
    if tensor.device.type != wanted:
        return False, f"the tensors are on {tensor.device}, and these kernels run on {wanted} tensors"
    if tensor.dtype not in CUDA_DTYPES:
        return False, f"{tensor.dtype} is not one of {', '.join(map(str, CUDA_DTYPES))}"
    module, reason = _extension.part(part)
    if module is None:
        return False, reason
    if not module.is_available():
        return False, f"nnzoo_fast.{part} can't run here: {module.why_unavailable()}"
    return True, ""


def module_of(tensor: torch.Tensor) -> ModuleType:
    """The compiled module whose kernels run where `tensor` lives."""
    return _extension.load("_cuda" if tensor.is_cuda else "_cuemu")


def call(tensor: torch.Tensor, kernel: str, *args) -> None:
    """Runs `kernel` where `tensor` lives: on its GPU and that GPU's current stream, or on the emulator."""
    run = getattr(module_of(tensor), kernel)
    if tensor.is_cuda:
        with torch.cuda.device(tensor.device):
            run(*args, torch.cuda.current_stream().cuda_stream)
    else:
        run(*args, 0)


def is_aligned(tensor: torch.Tensor, size: int) -> bool:
    """Whether `tensor` starts at a multiple of `size` bytes.

    Asked of the storage: `data_ptr` is for kernels, and the checker takes one who asks for it for one who writes there.
    """
    start = tensor.untyped_storage().data_ptr() + tensor.storage_offset() * tensor.element_size()
    return start % size == 0


def allows_tf32() -> bool:
    """Whether torch's own flag lets float32 products round their factors to TF32."""
    return torch.backends.cuda.matmul.allow_tf32
