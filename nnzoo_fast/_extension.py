"""The compiled parts of the package: which loaded and, for each that did not, why.

`_C` holds the CPU kernels, `_cuda` the CUDA kernels, `_cuemu` the same CUDA sources run on the CPU (for tests), and
`_cuemu_check` those in check mode. Each may be missing or broken without harm to the others or to `import nnzoo_fast`.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from types import ModuleType
from typing import NamedTuple

import torch  # before our own modules, so that they share the OpenMP runtime that torch brings

# The values of `enum class DType` in csrc/common/kernel.h.
DTYPE_CODES = {torch.float32: 0, torch.bfloat16: 1, torch.float64: 2, torch.float16: 3}


class Part(NamedTuple):
    """A compiled module, or `None` with the reason why it is not there."""

    module: ModuleType | None
    reason: str


@functools.cache
def part(name: str) -> Part:
    """Loads "_C", "_cuda" or "_cuemu" once. One that is missing or fails to load says why in `reason`."""
    qualified = f"{__package__}.{name}"
    try:
        return Part(importlib.import_module(qualified), "")
    except ModuleNotFoundError:
        return Part(None, f"{qualified} is not part of this installation")
    except ImportError as error:
        return Part(None, f"{qualified} failed to load: {error}")


def load(name: str) -> ModuleType | None:
    """The compiled module `name` ("_C", "_cuda" or "_cuemu"), or `None`; `part(name).reason` then says why."""
    return part(name).module


def _start() -> ModuleType | None:
    module, reason = part("_C")
    if module is None:
        warnings.warn(
            f"{reason}: every op runs on stock torch. For the fast path, install a C++17 compiler (such as g++) and "
            "run `pip install --force-reinstall --no-deps --no-cache-dir nnzoo-fast`, or `make build` in a checkout.",
            RuntimeWarning,
            stacklevel=2,
        )
    elif isa := os.environ.get("NNZOO_ISA"):
        try:
            module.set_isa(isa)
        except ValueError as error:
            raise ValueError(f"environment variable NNZOO_ISA: {error}") from None
    return module


_C = _start()

MULTIPLIES_BF16 = _C is not None and _C.isa() == "avx512_bf16"
"""Whether the CPU kernels use this CPU's own products of bfloat16."""
