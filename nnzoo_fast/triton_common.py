"""What the Triton kernels share. Importing this imports Triton."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import triton
import triton.language as tl

from nnzoo_fast import triton_support

INTERPRETED = tl.constexpr(triton_support.INTERPRETED)


@dataclass(frozen=True)
class AheadOfTime:
    """One compilation that needs no GPU: a kernel, the types of its arguments and its compile-time constants."""

    kernel: triton.JITFunction
    signature: dict[str, str]
    constants: dict = field(default_factory=dict)


def precision(dtype: torch.dtype) -> str:
    """How `tl.dot` may treat float32: as TF32 only where torch's own flag allows it."""
    return "tf32" if dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32 else "ieee"


@triton.jit
def dot(a, b, accumulator, PRECISION: tl.constexpr):
    """accumulator + a @ b. The interpreter gets bfloat16 silently wrong, so it multiplies in float32 there."""
    if INTERPRETED and a.dtype == tl.bfloat16:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, accumulator, input_precision=PRECISION, out_dtype=accumulator.dtype)


@triton.jit
def tanh(x):
    """From exp of a negative number, so that nothing overflows."""
    small = tl.exp(-2 * tl.abs(x))
    size = (1 - small) / (1 + small)
    return tl.where(x < 0, -size, size)


@triton.jit
def sigmoid(x):
    small = tl.exp(-tl.abs(x))
    return tl.where(x < 0, small, 1.0) / (1 + small)
