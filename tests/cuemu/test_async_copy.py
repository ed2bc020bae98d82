"""`cp.async`."""

import numpy as np


def test_async_copy(kernels, order):
    values, out = np.arange(256, dtype=np.float32), np.zeros(256, np.float32)
    kernels.run_copy_async(values, out, 0)
    expected = values.copy().reshape(64, 4)
    expected[32:, 2:] = 0
    assert (out == expected.ravel()).all()


def test_missing_and_weak_waits_show(kernels, order):
    values, out = np.arange(256, dtype=np.float32), np.zeros(256, np.float32)
    kernels.run_copy_async(values, out, 1)
    assert np.isnan(out).all()
    kernels.run_copy_async(values, out, 2)
    assert (out[:128] == values[:128]).all() and np.isnan(out[128:]).all()
