"""The `cuda` and `cuemu` rows of an operation's table: the same kernels, on a GPU and on the emulator (for tests)."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Backend, Verdict, only_on_request

CUDA_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def cuda_rows(module_name: str) -> tuple[Backend, Backend]:
    """The rows whose `supports(*args)`, `forward` and `backward` stand in the module of this name.

    Neither is chosen by itself: no table of GPU times says yet where these kernels beat stock torch.
    """

    def supports_on(part: str):
        def supports(*args) -> Verdict:
            tensor = next(arg for arg in args if isinstance(arg, torch.Tensor))
            able, reason = _device_verdict(tensor, part)
            return _module(module_name).supports(*args) if able else (able, reason)

        return supports

    def forward(*args):
        return _module(module_name).forward(*args)

    def backward(*args):
        return _module(module_name).backward(*args)

    return (
        Backend("cuda", supports_on("_cuda"), forward, backward, only_on_request),
        Backend("cuemu", supports_on("_cuemu"), forward, backward, only_on_request),
    )


def _module(name: str):
    # Not at the top: an operation's cuda.py imports its own package for `allocate`.
    return importlib.import_module(name)


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


def allows_tf32() -> bool:
    """Whether torch's own flag lets float32 products round their factors to TF32."""
    return torch.backends.cuda.matmul.allow_tf32
