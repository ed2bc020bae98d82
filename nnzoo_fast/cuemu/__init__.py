"""CUDA kernels of anybody's `.cu` file on the CPU: run, and checked for what no unit test finds.

    kernel = cuemu.compile("reduce.cu", "reduce<256>")
    kernel(x, out, x.size, grid=4, block=256)                          # out holds the result
    report = cuemu.check(kernel, x, out, x.size, grid=4, block=256)    # report.findings, report.lines, report.kernels

`nnzoo-fast cuemu run` and `check` are the same on the command line. csrc/cuemu/README.md tells how it works.
"""

from nnzoo_fast.cuemu.errors import CompileError, UsageError
from nnzoo_fast.cuemu.kernel import Kernel, KernelError, check, compile
from nnzoo_fast.cuemu.report import Finding, Line, Report

__all__ = ["CompileError", "Finding", "Kernel", "KernelError", "Line", "Report", "UsageError", "check", "compile"]
