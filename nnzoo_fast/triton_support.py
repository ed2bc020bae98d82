"""The `triton` row of an operation's table, made without importing Triton before it is needed."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable

import torch

from nnzoo_fast.backends import Backend, Verdict, only_on_request

TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

INSTALLED = importlib.util.find_spec("triton") is not None

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton runs kernels in Python on CPU tensors; like Triton, this reads the variable once."""


def triton_supports(tensor: torch.Tensor, dtypes: tuple[torch.dtype, ...] = TRITON_DTYPES) -> Verdict:
    """Whether a Triton kernel for `dtypes` can run on this tensor."""
    if not INSTALLED:
        return False, "Triton is not installed (`pip install nnzoo-fast[triton]`)"
    if tensor.dtype not in dtypes:
        return False, f"{tensor.dtype} is not one of {', '.join(map(str, dtypes))}"
    if tensor.device.type == "cuda" or (tensor.device.type == "cpu" and INTERPRETED):
        return True, ""
    return False, f"the tensors are on {tensor.device}, and the interpreter (TRITON_INTERPRET=1) is off"


def first_tensor_supports(*args) -> Verdict:
    return triton_supports(args[0])


def triton_row(
    module: str,
    supports: Callable[..., Verdict] = first_tensor_supports,
    pays: Callable[..., Verdict] = only_on_request,
) -> Backend:
    """The row whose `forward` and `backward` live in `module`, which imports Triton and is itself imported by need.

    `supports` stands outside that module, since a traced program asks it too.
    """

    def forward(*args):
        return importlib.import_module(module).forward(*args)

    def backward(*args):
        return importlib.import_module(module).backward(*args)

    return Backend("triton", supports, forward, backward, pays)
