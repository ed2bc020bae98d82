"""The poolings of torch.nn.functional: each is written once, for one, two and three dimensions."""

from collections.abc import Sequence

import torch

from nnzoo_fast import ops
from nnzoo_fast.nn import dimensions

Size = int | tuple[int, ...]


def for_each(n: int, size: object) -> object:
    """`size` with a number for each dimension, which says how many there are.

    Raises:
        RuntimeError: a sequence of neither one number nor `n`.
    """
    if isinstance(size, Sequence):
        if len(size) not in (1, n):
            raise RuntimeError(f"a {n}d pooling takes a number or {n} of them, got {size!r}")
        return tuple(size) * (n if len(size) == 1 else 1)
    return (size,) * n


def _avg_pool(
    n: int,
    input: torch.Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> torch.Tensor:
    """`torch.nn.functional.avg_pool{n}d`: input [N, C, {space}] or [C, {space}]; see `ops.avg_pool`."""
    return ops.avg_pool(
        input, for_each(n, kernel_size), stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _max_pool(
    n: int,
    input: torch.Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
):
    """`torch.nn.functional.max_pool{n}d`: input [N, C, {space}] or [C, {space}]; see `ops.max_pool`.

    With `return_indices` also where the values stand."""
    return ops.max_pool(input, for_each(n, kernel_size), stride, padding, dilation, ceil_mode, return_indices)


def _lp_pool(
    n: int,
    input: torch.Tensor,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> torch.Tensor:
    """`torch.nn.functional.lp_pool{n}d`: input [N, C, {space}] or [C, {space}]; see `ops.lp_pool`."""
    return ops.lp_pool(input, norm_type, for_each(n, kernel_size), stride, ceil_mode)


def _max_unpool(
    n: int,
    input: torch.Tensor,
    indices: torch.Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> torch.Tensor:
    """`torch.nn.functional.max_unpool{n}d`: input and indices [N, C, {space}] or [C, {space}]; see `ops.max_unpool`."""
    return ops.max_unpool(input, indices, for_each(n, kernel_size), stride, padding, output_size)


def _adaptive_avg_pool(n: int, input: torch.Tensor, output_size: Size) -> torch.Tensor:
    """`torch.nn.functional.adaptive_avg_pool{n}d`: input [N, C, {space}] or [C, {space}].

    See `ops.adaptive_avg_pool`."""
    return ops.adaptive_avg_pool(input, for_each(n, output_size))


def _adaptive_max_pool(n: int, input: torch.Tensor, output_size: Size, return_indices: bool = False):
    """`torch.nn.functional.adaptive_max_pool{n}d`: input [N, C, {space}] or [C, {space}].

    See `ops.adaptive_max_pool`; with `return_indices` also where the values stand."""
    return ops.adaptive_max_pool(input, for_each(n, output_size), return_indices)


avg_pool1d, avg_pool2d, avg_pool3d = dimensions.functions(_avg_pool)
max_pool1d, max_pool2d, max_pool3d = dimensions.functions(_max_pool)
lp_pool1d, lp_pool2d, lp_pool3d = dimensions.functions(_lp_pool)
max_unpool1d, max_unpool2d, max_unpool3d = dimensions.functions(_max_unpool)
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = dimensions.functions(_adaptive_avg_pool)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = dimensions.functions(_adaptive_max_pool)

__all__ = [name for name in globals() if name.endswith(("1d", "2d", "3d"))]
