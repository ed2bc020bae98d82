"""CUDA's functions of integers, floating-point numbers, 16-bit floating-point numbers and vectors."""

import math

import numpy as np
import pytest
import torch

COUNT = 500
MASK = 0xFFFFFFFF


def signed(value, bits=32):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def parts(value, bits, is_signed):
    pieces = [value >> shift & ((1 << bits) - 1) for shift in range(0, 32, bits)]
    return [signed(piece, bits) for piece in pieces] if is_signed else pieces


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def integer_functions(x, y):
    both, sx, sy = x << 32 | y, signed(x), signed(y)
    pair = y << 32 | x
    data = x.to_bytes(4, "little") + y.to_bytes(4, "little")
    permuted = [data[1], data[4], 255 if data[2] & 128 else 0, data[7]]

    def first_set(value):
        return (value & -value).bit_length()

    def reverse(value, bits):
        return int(f"{value:0{bits}b}"[::-1], 2)

    return [
        x.bit_count(),
        both.bit_count(),
        32 - x.bit_length(),
        64 - both.bit_length(),
        first_set(x),
        first_set(both),
        reverse(x, 32),
        reverse(both, 64),
        int.from_bytes(bytes(permuted), "little"),
        pair << 3 >> 32,
        x,
        pair >> 4,
        y,
        signed(x, 24) * signed(y, 24),
        (x & 0xFFFFFF) * (y & 0xFFFFFF),
        x * y >> 32,
        sx * sy >> 32,
        both * both >> 64,
        signed(both, 64) ** 2 >> 64,
        sx + sy >> 1,
        sx + sy + 1 >> 1,
        x + y >> 1,
        x + y + 1 >> 1,
        abs(sx - sy) + 7,
        abs(x - y) + 7,
        dot(parts(x, 8, True), parts(y, 8, True)) - 5,
        dot(parts(x, 8, False), parts(y, 8, False)) + 5,
        dot(parts(x, 16, True), parts(y, 8, True)[:2]) + 5,
        dot(parts(x, 16, True), parts(y, 8, True)[2:]) + 5,
        min(sx, sy),
        max(x, y),
        max(sx, sy),
    ]


def test_integers(kernels):
    rng = np.random.default_rng(0)
    a, b = (
        rng.integers(0, 1 << 32, COUNT, dtype=np.uint32) >> rng.integers(0, 32, COUNT).astype(np.uint32) for _ in "ab"
    )
    a[:4], b[:4] = (0, MASK, 1 << 31, 0), (0, MASK, 1, 1 << 31)
    out = np.zeros((32, COUNT), np.uint32)
    kernels.run_integers(a, b, out, COUNT)
    expected = np.array([[f & MASK for f in integer_functions(int(x), int(y))] for x, y in zip(a, b, strict=True)])
    assert np.array_equal(out, expected.T)


def directed(exact, direction):
    """`exact`, float64, rounded to float32 down (-1), up (1) or towards zero (0)."""
    nearest = exact.astype(np.float32)
    toward = np.where(exact > 0, -1, 1) if direction == 0 else direction
    wrong = np.where(toward > 0, nearest < exact, nearest > exact)
    return np.where(wrong, np.nextafter(nearest, np.float32(toward * np.inf)), nearest)


def test_floats(kernels):
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=COUNT).astype(np.float32) * 3 for _ in "ab")
    a[:4] = (0.5, 1.0, -2.5, 3.0)
    out = np.zeros((20, COUNT), np.float32)
    kernels.run_floats(a, b, out, COUNT)
    x, y = a.astype(np.float64), b.astype(np.float64)
    normal_cdf = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    exact = {
        0: (x * y + x).astype(np.float32),
        5: np.clip(a, 0, 1),
        6: directed(x + y, 0),
        7: directed(x + y, 1),
        8: directed(x + y, -1),
        9: a * b,
        14: np.float32(1) / b,
        15: np.sqrt(np.abs(b)),
        17: np.minimum(a, b),
        18: np.maximum(a, b),
    }
    close = {
        1: x / y,
        2: 1 / np.sqrt(np.abs(x)),
        3: np.sin(x),
        4: np.exp(x),
        10: np.sin(np.pi * x),
        11: np.cos(np.pi * x),
        12: normal_cdf,
        13: 1 / np.cbrt(y),
        16: np.abs(x) ** 1.5,
        19: np.sqrt(x * x + y * y + 1),
    }
    for row, expected in exact.items():
        assert np.array_equal(out[row], expected), row
    for row, expected in close.items():
        assert np.allclose(out[row], expected, rtol=1e-6, atol=1e-7), row
    assert (out[10][:4] == [1, 0, -1, 0]).all() and (out[11][:4] == [0, -1, 0, -1]).all()


def test_conversions_saturate(kernels):
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 3e9, -3e9, 1e30, -1e30, np.inf, -np.inf, np.nan, 1 / 3, -2e18])
    integers, floating = np.zeros((8, len(values)), np.int64), np.zeros((6, len(values)))
    kernels.run_conversions(values, integers, floating, len(values))

    def integer(rounding, low, high, x):
        return [0 if math.isnan(v) else int(min(max(float(rounding(v)), low), high)) for v in x]

    narrow = values.astype(np.float32)
    limits = -(2**31), 2**31 - 1
    assert list(integers[0]) == integer(np.rint, *limits, narrow)
    assert list(integers[1]) == integer(np.trunc, *limits, narrow)
    assert list(integers[2]) == integer(np.floor, *limits, narrow)
    assert list(integers[3]) == integer(np.ceil, *limits, narrow)
    assert list(integers[4]) == integer(np.trunc, 0, 2**32 - 1, narrow)
    assert list(integers[5]) == integer(np.rint, *limits, values)
    assert list(integers[6][:7]) == integer(np.trunc, -(2.0**63), 2.0**63, values[:7])
    assert (integers[6][7:11] == [2**63 - 1, -(2**63), 2**63 - 1, -(2**63)]).all()
    assert (integers[7].view(np.uint64)[[7, 8, 11]] == [2**64 - 1, 0, 0]).all()
    bits = values.view(np.int64)
    assert np.array_equal(floating[0], bits.astype(np.float32).astype(float))
    assert (np.abs(floating[1]) <= np.abs(bits.astype(float))).all() and (floating[0] != floating[1]).any()
    finite = np.abs(values) < 1e20
    assert (floating[2] >= values)[finite].all() and (floating[3] <= values)[finite].all()
    assert np.array_equal(floating[4], values, equal_nan=True) and np.array_equal(floating[5], values, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pairs(kernels, order, dtype):
    torch.manual_seed(0)
    a, b = (torch.randn(COUNT, 2) * 2).to(dtype), torch.randn(COUNT, 2).to(dtype)
    out = np.zeros((24, COUNT, 2), np.float32)
    kernels.run_pairs(a.view(torch.int16).numpy(), b.view(torch.int16).numpy(), out, COUNT, int(dtype == torch.float16))
    x, y = a.double(), b.double()

    def pair(low, high):
        return torch.stack([low, high], -1)

    exact = [
        a + b,
        a - b,
        a * b,
        a / b,
        x * y + x,
        -a,
        a.abs(),
        torch.maximum(a, b),
        torch.minimum(a, b),
        (a < b).double(),
        (a + b).clamp(0, 1),
        None,
        x.abs().sqrt(),
        1 / y,
        None,
        a + b * a,
        pair(x[:, 0] * x[:, 1] + x[:, 0], x.max(-1).values),
        pair((x[:, 0] > x[:, 1]).double(), x[:, 0] / x[:, 1]),
        a.flip(-1),
        pair((a[:, 0].float() + 1).to(dtype), (a[:, 1].float() * 3).to(dtype)),
        None,
        pair(x[:, 0].floor(), x[:, 1].round()),
        a,
        a,
    ]
    for row, expected in enumerate(exact):
        if expected is not None:
            assert np.array_equal(out[row], expected.to(dtype).float().numpy()), row
    scaled = (a[:, 0].float() * 1.0001).numpy()
    assert (np.abs(out[20, :, 0]) <= np.abs(scaled)).all() and (out[20, :, 1] >= scaled).all()
    step = 2.0 ** (-10 if dtype == torch.float16 else -7)
    assert (np.abs(out[20, :, 1] - out[20, :, 0]) <= 2 * step * np.abs(scaled) + 1e-7).all()
    for row, expected in ((11, x.exp()), (14, x.tanh())):
        assert np.allclose(out[row], expected, rtol=step)


def test_vector_types(kernels):
    out = np.zeros((10, 4))
    kernels.run_vectors(out)
    sizes = np.array([1, 1, 2, 2, 4, 4, 8, 8, 4, 8])
    minus_one = [-1, 255, -1, 65535, -1, 2.0**32 - 1, -1, 2.0**64 - 1, -1, -1]
    alignments = [np.minimum(k * sizes, 16) for k in (1, 2, 1, 4)]
    assert (out[:, 0] == 45).all() and (out[:, 1] == minus_one).all()
    assert (out[:, 2] == sizes * (1 + 200 + 30000 + 4000000)).all()
    assert (out[:, 3] == sum(100**k * alignment for k, alignment in enumerate(alignments))).all()


def test_constant_and_device_variables(kernels):
    values, out, launches = np.linspace(-1, 1, 64, dtype=np.float32), np.zeros(64, np.float32), np.zeros(1, np.int32)
    for run in (1, 2):
        kernels.run_polynomial(values, out, launches)
        assert launches[0] == run
    assert np.allclose(out, 1 + 10 * values + 100 * values**2, rtol=1e-5)


def test_assertions(kernels, order):
    values = np.arange(64, dtype=np.int32) % 8
    kernels.run_assert_small(values)
    values[41] = 10
    with pytest.raises(RuntimeError, match=r"thread \(41, 0, 0\): assertion failed: value < 10.*functions\.cu:\d+"):
        kernels.run_assert_small(values)


def test_clock_runs_forward(kernels, order):
    out = np.zeros(1, np.int32)
    kernels.run_wait_for_clock(out)
    assert out[0] == 31
