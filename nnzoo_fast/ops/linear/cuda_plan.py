"""Which CUDA kernel computes a product, and how it is cut: decided by sizes, strides and the GPU, never by values."""

import enum
import functools

import torch

from nnzoo_fast import _extension
from nnzoo_fast.cuda_support import allows_tf32, is_aligned


class Kernel(enum.IntEnum):
    """The `LinearKernel`s of csrc/ops/linear/linear_cuda.h."""

    NAIVE = 0
    TILED = 1
    VECTORS = 2
    STAGED = 3
    TENSOR = 4
    HOPPER = 5


TILE = 128
H200_MULTIPROCESSORS = 132
"""What plans are made for; on every GPU the same, so that results are."""
SHORTEST_SLICE = 512
EMULATED_MULTIPROCESSORS = 4

_HALVES = (torch.bfloat16, torch.float16)
_PACK_BYTES = 16


def kernel_for(top: Kernel, a: torch.Tensor, b: torch.Tensor) -> Kernel:
    """The highest rung up to `top` that takes a [M, K] and b [N, K]."""
    tensor_cores = a.dtype in _HALVES or (a.dtype == torch.float32 and allows_tf32())
    if top <= Kernel.VECTORS or not tensor_cores:
        return min(top, Kernel.VECTORS)
    if a.dtype not in _HALVES or not (is_packed(a) and is_packed(b)):
        return Kernel.STAGED
    return Kernel.HOPPER if top == Kernel.HOPPER and has_wgmma(a) else Kernel.TENSOR


def is_packed(matrix: torch.Tensor) -> bool:
    """Whether the matrix is rows, or columns, of whole 16-byte packs that don't overlap: what cp.async and tensor maps
    copy."""
    along = 1 if matrix.stride(1) == 1 else 0
    across = matrix.stride(1 - along) * matrix.element_size()
    return (
        matrix.stride(along) == 1
        and across % _PACK_BYTES == 0
        and matrix.shape[along] * matrix.element_size() <= across < 2**40
        and is_aligned(matrix, _PACK_BYTES)
        and 0 < min(matrix.shape)
        and max(matrix.shape) < 2**31
    )


def has_wgmma(tensor: torch.Tensor) -> bool:
    """Whether the kernels where `tensor` lives have Hopper's instructions: compute capability 9.0 alone has them."""
    return not tensor.is_cuda or _has_wgmma(tensor.device)


@functools.cache
def _has_wgmma(device: torch.device) -> bool:
    built = _extension.load("_cuda").build_info()["cuda_archs"].split(";")
    return torch.cuda.get_device_capability(device) == (9, 0) and "90a" in built


def multiprocessors(tensor: torch.Tensor) -> int:
    if not tensor.is_cuda:
        return EMULATED_MULTIPROCESSORS
    return torch.cuda.get_device_properties(tensor.device).multi_processor_count


def slice_of(kernel: Kernel, rows: int, columns: int, depth: int) -> int:
    """How much of the depth a block sums. A result of few tiles leaves multiprocessors idle: then the depth is cut."""
    slices = H200_MULTIPROCESSORS // max(1, -(-rows // TILE) * -(-columns // TILE))
    if kernel < Kernel.VECTORS or slices < 2 or depth < 2 * SHORTEST_SLICE:
        return max(depth, 1)
    return max(SHORTEST_SLICE, -(-depth // slices // 64) * 64)


def row_slice_of(rows: int, columns: int, element_size: int) -> int:
    """How many rows of a gradient a block adds up: a few blocks for each multiprocessor, of 64 rows or more."""
    column_blocks = max(1, -(-columns // (32 * _PACK_BYTES // element_size)))
    slices = max(1, min(-(-rows // 64), 4 * H200_MULTIPROCESSORS // column_blocks))
    return max(1, -(-rows // slices))
