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
def scaled(tensor, factor):
    """tensor * factor in the tensor's type. `factor` is a kernel's argument of type tl.float64: without the annotation
    Triton passes a float in float32, which float64 results would show."""
    if INTERPRETED:
        return tensor * factor
    return tensor * factor.to(tensor.dtype)


@triton.jit
def tanh(x):
    """From exp of a negative number, so that nothing overflows; near 0, where that loses digits, from the series."""
    small = tl.exp(-2 * tl.abs(x))
    far = (1 - small) / (1 + small)
    square = x * x
    # tanh(x) / x, cut off where the next term is below float64's rounding for |x| < 1/8.
    series = 1 + square * (-1 / 3 + square * (2 / 15 + square * (-17 / 315 + square * (62 / 2835))))
    series += square * square * square * square * square * (-1382 / 155925 + square * (21844 / 6081075))
    series += square * square * square * square * square * square * square * (-929569 / 638512875)
    return tl.where(tl.abs(x) < 0.125, x * series, tl.where(x < 0, -far, far))


@triton.jit
def sigmoid(x):
    small = tl.exp(-tl.abs(x))
    return tl.where(x < 0, small, 1.0) / (1 + small)


@triton.jit
def differentiated_sigmoid(x):
    """sigmoid(x) and its derivative, as accurate where the function saturates as elsewhere, which s * (1 - s) isn't."""
    small = tl.exp(-tl.abs(x))
    high = 1.0 / (1 + small)
    low = small * high
    return tl.where(x < 0, low, high), low * high


@triton.jit
def differentiated_tanh(x):
    """tanh(x) and its derivative."""
    _, slope = differentiated_sigmoid(2 * x)
    return tanh(x), 4 * slope


@triton.jit
def philox(seed, index):
    """Word `index` (int64) of the Philox 2x32-10 stream of `seed`, as int64 in [0, 2^32); see `nnzoo_fast.random`."""
    low = (index & 0xFFFFFFFF).to(tl.uint32)
    high = (index >> 32).to(tl.uint32)
    key = (seed & 0xFFFFFFFF).to(tl.uint32)
    for _ in tl.static_range(10):
        product = low.to(tl.uint64) * 0xD256D193
        low = (product >> 32).to(tl.uint32) ^ key ^ high
        high = product.to(tl.uint32)
        key = (key.to(tl.uint64) + 0x9E3779B9).to(tl.uint32)
    return low.to(tl.int64)


def compute_type(dtype: torch.dtype) -> tl.dtype:
    """What sums of this dtype are kept in."""
    return tl.float64 if dtype == torch.float64 else tl.float32
