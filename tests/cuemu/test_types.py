"""16-bit floating-point types."""

import numpy as np
import torch


def test_conversions(kernels):
    rng = np.random.default_rng(4)
    edges = [
        0.0,
        -0.0,
        65504,
        65519.9,
        65520,
        1e6,
        np.inf,
        -np.inf,
        np.nan,
        6e-8,
        2.98e-8,
        2.99e-8,
        6.1e-5,
        6.0e-5,
        2049,
        2051,
    ]
    values = np.concatenate(
        [rng.normal(size=4096), rng.normal(size=4096) * 1e-6, np.exp(rng.normal(size=4096) * 9), edges]
    )
    values = values.astype(np.float32)
    halves, bfloats = np.zeros(len(values), np.uint16), np.zeros(len(values), np.uint16)
    kernels.run_convert(values, halves, bfloats, len(values))
    with np.errstate(over="ignore"):
        assert np.array_equal(halves.view(np.float16), values.astype(np.float16), equal_nan=True)
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    assert np.array_equal((bfloats.astype(np.uint32) << 16).view(np.float32), expected, equal_nan=True)
    out = np.zeros((2, 65536), np.float32)
    kernels.run_widen(out)
    bits = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(out[0], bits.view(np.float16).astype(np.float32), equal_nan=True)
    assert np.array_equal(out[1], (bits.astype(np.uint32) << 16).view(np.float32), equal_nan=True)
