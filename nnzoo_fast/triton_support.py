"""The `triton` row of an operation's table, made without importing Triton before it is needed."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from types import ModuleType

import torch

from nnzoo_fast.backends import Backend, Verdict, only_on_request

TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def interpreted() -> bool:
    """Whether Triton runs kernels in Python on CPU tensors (`TRITON_INTERPRET=1`, read when Triton is imported)."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def device_verdict(tensor: torch.Tensor) -> Verdict:
    """Whether a Triton kernel can run on this tensor."""
    if not installed():
        return False, "Triton is not installed (`pip install nnzoo-fast[triton]`)"
    if tensor.dtype not in TRITON_DTYPES:
        return False, f"{tensor.dtype} is not one of {', '.join(map(str, TRITON_DTYPES))}"
    if tensor.device.type == "cuda":
        return True, ""
    if tensor.device.type == "cpu" and interpreted():
        return True, ""
    return False, f"the tensors are on {tensor.device}, and the interpreter (TRITON_INTERPRET=1) is off"


def triton_row(module: str, pays=only_on_request) -> Backend:
    """The row whose `supports(*args)`, `forward` and `backward` live in `module`, which imports Triton.

    The module is asked only for calls whose first argument Triton can run on at all.
    """

    @functools.cache
    def kernels() -> ModuleType:
        return importlib.import_module(module)

    def supports(*args) -> Verdict:
        able, reason = device_verdict(args[0])
        return kernels().supports(*args) if able else (able, reason)

    def forward(*args):
        return kernels().forward(*args)

    def backward(*args):
        return kernels().backward(*args)

    return Backend("triton", supports, forward, backward, pays)
