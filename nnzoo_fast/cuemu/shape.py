"""The shape of a launch: grid, block and dynamic shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnzoo_fast.cuemu.errors import UsageError

_LIMITS = {"grid": (2**31 - 1, 65535, 65535), "block": (1024, 1024, 64)}
_THREADS = 1024
_SHARED = 227 << 10


@dataclass(frozen=True)
class Shape:
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int = 0

    @staticmethod
    def of(grid: int | Sequence[int], block: int | Sequence[int], shared: int = 0) -> Shape:
        """Sizes in one to three dimensions; a number is one.

        Raises:
            UsageError: a GPU of compute capability 9.0 would refuse the launch.
        """
        shape = Shape(_three("grid", grid), _three("block", block), shared)
        threads = shape.block[0] * shape.block[1] * shape.block[2]
        if threads > _THREADS:
            raise UsageError(f"--block {_text(shape.block)} has {threads} threads; a block has at most {_THREADS}")
        if not 0 <= shared <= _SHARED:
            raise UsageError(f"--smem {shared}: a block has 0 to {_SHARED} bytes of dynamic shared memory")
        return shape


def parse(name: str, text: str) -> tuple[int, ...]:
    """`4` or `4,2` or `4,2,1`."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"--{name} {text!r}: expected one to three sizes, such as 4 or 4,2,1") from None


def _three(name: str, sizes: int | Sequence[int]) -> tuple[int, int, int]:
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    if not 1 <= len(sizes) <= 3:
        raise UsageError(f"--{name} {_text(sizes)}: expected one to three sizes, got {len(sizes)}")
    sizes += (1,) * (3 - len(sizes))
    for size, limit in zip(sizes, _LIMITS[name], strict=True):
        if not 1 <= size <= limit:
            limits = " x ".join(map(str, _LIMITS[name]))
            raise UsageError(f"--{name} {_text(sizes)}: sizes are at least 1 and at most {limits}")
    return sizes


def _text(sizes: Sequence[int]) -> str:
    return ",".join(map(str, sizes))
