"""Kernels as Python sees them, and `check`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nnzoo_fast.cuemu import arguments, build
from nnzoo_fast.cuemu.job import ORDERS, Job, check_order
from nnzoo_fast.cuemu.report import Report
from nnzoo_fast.cuemu.shape import Shape


class KernelError(RuntimeError):
    """A kernel went wrong; `report` says how."""

    def __init__(self, report: Report):
        super().__init__("\n".join(f"{f.file}:{f.line}: {f.kind}: {f.message}" for f in report.findings))
        self.report = report


class Kernel:
    """One `__global__` function of a file. `compile` makes it."""

    def __init__(self, source: build.Source, name: str):
        self.source = source
        self.name = name

    def __repr__(self) -> str:
        return f"<kernel {self.name} of {self.source.path}>"

    def __call__(
        self, *args, grid, block, shared: int = 0, order: str = "forward", timeout: float | None = None
    ) -> None:
        """Launches the kernel and waits for it. Arrays are changed in place, as in a GPU's memory.

        Args:
            args: numpy arrays and CPU tensors for pointers, numbers for numbers. A number fits every parameter that can
                hold it; a numpy scalar has to be of the parameter's type.
            grid: blocks: a number or up to three.
            block: threads of a block: a number or up to three.
            shared: bytes of dynamic shared memory.
            order: the schedule: "forward", "reverse" or "random:SEED".
            timeout: seconds after which it is given up.

        Raises:
            KernelError: the kernel went wrong.
            UsageError: the arguments don't fit, or a GPU would refuse the launch.
            CompileError: the compiler refuses the file.
        """
        check_order(order)
        report = _launch(self, args, Shape.of(grid, block, shared), [order], False, timeout)
        if not report.clean:
            raise KernelError(report)


def compile(
    path: str | os.PathLike, kernel: str, *, includes: Sequence[str | os.PathLike] = (), defines: Sequence[str] = ()
) -> Kernel:
    """A kernel of a `.cu` file, compiled for a plain run; for `check` it is compiled again when first checked.

    Args:
        path: the file; nothing in it has to know of this project.
        kernel: its name, of a template as instantiated: "tile<32>".
        includes: folders in which its headers are looked for, besides its own.
        defines: macros, as "NAME" or "NAME=VALUE".

    Raises:
        UsageError: there is no such file or kernel, or no g++.
        CompileError: the compiler refuses the file.
    """
    source = build.Source(Path(path), tuple(map(Path, includes)), tuple(defines))
    build.program(source, kernel, checked=False)
    return Kernel(source, kernel)


def check(
    fn: Kernel | Callable,
    *args,
    grid=None,
    block=None,
    shared: int = 0,
    orders: Sequence[str] = ORDERS,
    timeout: float | None = None,
) -> Report:
    """Runs a kernel, or a function around operations of this package, under the checker.

    Args:
        fn: a kernel that `compile` made, or any function, which is called with `args` once in each schedule; in it,
            operations run on the backend `cuemu`, backward passes included, and on CPU tensors.
        args: see `Kernel.__call__`; arrays keep what the first schedule leaves in them.
        grid, block, shared: the launch of a kernel.
        orders: the schedules; the report has the findings of all and the counts of the first.
        timeout: seconds after which a kernel is given up.

    Raises:
        UsageError: the launch can't be, or this installation has no operations in check mode (`NNZOO_BUILD_CUEMU=check`
            builds them).
        BackendError: an operation does not run on `cuemu`.
    """
    for order in orders:
        check_order(order)
    if isinstance(fn, Kernel):
        if grid is None or block is None:
            raise TypeError("check of a kernel needs grid and block")
        return _launch(fn, args, Shape.of(grid, block, shared), orders, True, timeout)
    if grid is not None or block is not None:
        raise TypeError(f"grid and block are for a kernel, and {fn!r} is none: nnzoo_fast.cuemu.compile makes one")
    from nnzoo_fast.cuemu import operations

    return operations.check(fn, args, orders)


def _launch(
    kernel: Kernel, args: Sequence, shape: Shape, orders: Sequence[str], checked: bool, timeout: float | None
) -> Report:
    values = tuple(arguments.of_value(value, place) for place, value in enumerate(args, 1))
    job = Job(kernel.source, kernel.name, values, shape, (), tuple(orders), checked, timeout)
    done = job.go()
    for value, array in zip(args, done.arrays, strict=True):
        if array is not None:
            np.copyto(np.asarray(value), array)
    return done.report
