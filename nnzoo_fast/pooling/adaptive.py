"""Windows that divide an image as evenly as whole numbers can: window o of O along a size I is the elements
floor(o I / O) to ceil((o + 1) I / O)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.conv.arguments import per_dimension
from nnzoo_fast.ops.conv.outputs import memory_format_of
from nnzoo_fast.pooling import calls
from nnzoo_fast.pooling.windows import in_three

OutputSize = int | None | Sequence[int | None]


def dimensions_of(op: str, input: torch.Tensor, output_size: OutputSize) -> int:
    """How many dimensions a pooling has, as `calls.dimensions_of`.

    Raises:
        ValueError: `input` has too few for two or three sizes, as in torch.
    """
    if isinstance(output_size, (tuple, list)) and input.dim() <= len(output_size) in (2, 3):
        raise ValueError(
            f"{op}: input {list(input.shape)} must have at least {len(output_size) + 1} dimensions, as output_size "
            f"{output_size!r} asks for"
        )
    return calls.dimensions_of(op, input, output_size, "output_size")


def output_size_of(op: str, input: torch.Tensor, n: int, output_size: OutputSize) -> list[int]:
    """The number of windows along each dimension; None stands for as many as `input` has elements there."""
    sizes = list(output_size) if isinstance(output_size, (tuple, list)) else [output_size] * n
    if len(sizes) == 1:
        sizes *= n
    own = input.shape[input.dim() - n :]
    if len(sizes) == n:
        sizes = [own[i] if size is None else size for i, size in enumerate(sizes)]
    return per_dimension("output_size", sizes, n, op)


def check_output_size(op: str, input: torch.Tensor, size: Sequence[int]) -> None:
    """Raises RuntimeError, as torch does, for what can't be divided."""
    if min(size) < 0:
        raise RuntimeError(f"{op}: output_size must be at least 0, got {list(size)}")
    if min(input.shape[1:]) < 1:
        raise RuntimeError(f"{op}: input {list(input.shape)} may be empty in the batch alone")


def supports(input: torch.Tensor, size: Sequence[int], kernel: str) -> Verdict:
    if min(size) == 0:
        return False, f"output_size {list(size)} has no windows"
    return cpu_supports(input, kernel)


def numbers_of(input: torch.Tensor, size: Sequence[int]) -> tuple:
    """`AdaptiveNumbers` of csrc/common/windows_bind.h."""
    channels_last = memory_format_of(input) is not torch.contiguous_format
    return (*input.shape[:2], in_three(input.shape[2:], 1), in_three(size, 1), channels_last)


def window_positions(input: torch.Tensor, size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The flat position of each element of each window, int64 [*size, taps], and whether there is such an element."""
    n = len(size)
    position = torch.zeros([1] * (2 * n), dtype=torch.int64, device=input.device)
    inside = torch.ones_like(position, dtype=torch.bool)
    for i, (elements, count) in enumerate(zip(input.shape[2:], size, strict=True)):
        window = torch.arange(count, device=input.device)
        parts = max(count, 1)
        begin, end = window * elements // parts, ((window + 1) * elements + parts - 1) // parts
        tap = begin[:, None] + torch.arange(elements // parts + 2, device=input.device)
        shape = [1] * (2 * n)
        shape[i], shape[n + i] = tap.shape
        position = position * elements + tap.clamp(max=elements - 1).reshape(shape)
        inside = inside & (tap < end[:, None]).reshape(shape)
    return position.flatten(n), inside.flatten(n)
