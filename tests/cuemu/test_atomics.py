"""Atomics."""

import numpy as np
import pytest
import torch


@pytest.mark.parametrize(
    "name, dtype, count",
    [
        ("int", np.int32, 2048),
        ("long", np.uint64, 2048),
        ("float", np.float32, 2048),
        ("double", np.float64, 2048),
        ("half", np.float16, 2048),
    ],
)
def test_atomic_add(kernels, order, name, dtype, count):
    values, total = (np.arange(count) % 2).astype(dtype), np.zeros(1, dtype)
    getattr(kernels, f"run_add_{name}")(values, total)
    assert total[0] == count // 2


def test_atomic_add_of_bfloat16(kernels, order):
    values, total = torch.ones(64, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.bfloat16)
    kernels.run_add_bfloat16(values.view(torch.int16).numpy(), total.view(torch.int16).numpy())
    assert total.item() == 64


def test_adding_without_atomics_loses_updates(kernels, order):
    total = np.zeros(1, np.float32)
    kernels.run_add_without_atomic(np.ones(32, np.float32), total)
    assert total[0] == 1


def test_other_atomics(kernels, order):
    values = np.random.default_rng(3).integers(1, 1 << 20, 512).astype(np.int32)
    out = np.zeros(9, np.int32)
    out[1:3] = (1 << 30, -1)
    kernels.run_other_atomics(values, out)
    expected = [values.max(), values.min(), np.bitwise_and.reduce(values), np.bitwise_or.reduce(values)]
    assert list(out[:5]) == [*expected, np.bitwise_xor.reduce(values)]
    assert out[5] + out[6] == values.sum() and out[7] == values.max() and out[8] == 512 % 10
