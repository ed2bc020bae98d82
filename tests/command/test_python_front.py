"""`nnzoo_fast.cuemu` from Python."""

import numpy as np
import pytest

from nnzoo_fast import cuemu
from nnzoo_fast.cuemu import arguments
from nnzoo_fast.cuemu.errors import UsageError


def test_python_front(add):
    kernel = cuemu.compile("add.cu", "add")
    a, b = np.ones(8, np.float32), np.zeros(8, np.float32)
    kernel(a, b, 8, 2, 0.5, grid=1, block=8)
    assert (b == 1).all()
    report = cuemu.check(kernel, a, b, 8, 2, 0.5, grid=1, block=8)
    assert report.clean and (b == 2).all() and {line.line for line in report.lines} == {4}
    report = cuemu.check(kernel, a, b, 99, 2, 0.5, grid=1, block=9)
    assert {finding.kind for finding in report.findings} == {"out_of_bounds"} and "add.cu:4" in str(report)
    with pytest.raises(cuemu.KernelError, match="out_of_bounds"):
        kernel(a, b, 10**6, 2, 0.5, grid=1, block=1024)
    with pytest.raises(UsageError, match=r"argument 2 \(array 2\): .* takes an array of float32, and this is float64"):
        kernel(a, b.astype(float), 8, 2, 0.5, grid=1, block=8)
    with pytest.raises(TypeError, match="argument 3 of a kernel is an array or a number, got str"):
        kernel(a, b, "8", 2, 0.5, grid=1, block=8)


def test_numbers_of_python_fit_what_can_hold_them():
    assert arguments.of_value(np.float32(0.1), 1).kind == "f32"
    assert arguments.of_value(True, 1).kind == arguments.of_value(np.int16(3), 1).kind == "int"
    assert arguments.of_value(1e300, 1).kind == "float"
