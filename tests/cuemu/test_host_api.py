"""The part of the CUDA runtime that programs use around their kernels."""

import numpy as np
import pytest


def test_a_program(kernels, order):
    x, y = np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32)
    expected = 2 * x + y + np.arange(1000) % 4 + 1
    kernels.run_saxpy_program(x, y, 1000)
    assert np.allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("rules", ["memory", "device"])
def test_rules(kernels, rules):
    getattr(kernels, f"run_{rules}_rules")(np.zeros(64, np.int32))
