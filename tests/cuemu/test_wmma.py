"""nvcuda::wmma: products in every shape, type and layout, and calls that are wrong."""

import numpy as np
import pytest
from emulated import compiles

SHAPES = [(16, 16, 16), (32, 8, 16), (8, 32, 16)]
TYPES = ["half half", "half float", "half half float", "bf16 float", "int8 int", "uint8 int"]
DTYPES = {
    "half": np.float16,
    "float": np.float32,
    "int8": np.int8,
    "uint8": np.uint8,
    "int": np.int32,
    "tf32": np.float32,
}
DTYPES |= {"double": np.float64, "bf16": np.float32}
CASES = [(shape, types) for shape in SHAPES for types in TYPES]
CASES += [((16, 16, 8), "tf32 float"), ((8, 8, 4), "double double")]


def aligned(array):
    """The same in memory whose address is a multiple of 32."""
    memory = np.zeros(array.nbytes + 32, np.uint8)
    start = -memory.ctypes.data % 32
    found = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def in_memory(matrix, by_columns, is_bfloat16=False):
    """Line by line, each of 16 bytes or more."""
    bits = np.ascontiguousarray(matrix.T if by_columns else matrix)
    if missing := max(0, 16 // bits.itemsize - bits.shape[1]):
        bits = np.pad(bits, ((0, 0), (0, missing)))
    return aligned((bits.view(np.uint32) >> 16).astype(np.uint16) if is_bfloat16 else bits)


@pytest.mark.parametrize("shape, types", CASES)
def test_product(kernels, order, shape, types):
    m, n, k = shape
    operand, *sums = types.split()
    rng = np.random.default_rng(0)
    lowest = 0 if operand == "uint8" else -8
    a, b, c = (rng.integers(lowest, 9, size) for size in ((m, k), (k, n), (m, n)))
    a, b, c = a.astype(DTYPES[operand]), b.astype(DTYPES[operand]), c.astype(DTYPES[sums[0]])
    expected = 2 * (a.astype(np.int64) @ b.astype(np.int64) + c.astype(np.int64))
    for layouts in range(8):
        parts = [in_memory(x, layouts >> i & 1, operand == "bf16") for i, x in enumerate((a, b))]
        d = in_memory(np.zeros((m, n), DTYPES[sums[-1]]), layouts & 4)
        kernels.run_wmma(m, n, k, types.encode(), *parts, in_memory(c, layouts & 4), d, layouts)
        assert ((d.T if layouts & 4 else d) == expected).all(), layouts


def test_halves_are_rounded_once(kernels, order):
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal((16, 16)).astype(np.float16) for _ in range(3))
    d = aligned(np.zeros((16, 16), np.float16))
    kernels.run_wmma(16, 16, 16, b"half half", *map(aligned, (a, b, c)), d, 0)
    expected = 2 * (a.astype(np.float32) @ b.astype(np.float32) + c.astype(np.float32))
    assert np.abs(d - expected).max() <= 2**-10 * np.abs(expected).max()


def test_tf32_keeps_ten_bits(kernels, order):
    a, b, c = np.zeros((16, 8), np.float32), np.zeros((8, 16), np.float32), np.zeros((16, 16), np.float32)
    a[0, 0], b[0, 0] = 1 + 2**-10 + 2**-11, 1
    d = aligned(np.zeros_like(c))
    kernels.run_wmma(16, 16, 8, b"tf32 float", *map(aligned, (a, b, c)), d, 0)
    assert d[0, 0] == 2 * (1 + 2**-10)


def test_integers_wrap_around_or_saturate(kernels, order):
    a, d = np.full((16, 16), 100, np.int8), aligned(np.zeros((2, 16, 16), np.int32))
    a[1] = -100
    c = np.where(a > 0, 2**31 - 1, -(2**31)).astype(np.int32)
    kernels.run_wmma_saturate(aligned(a), aligned(c), d)
    assert (d[0] == c).all()
    assert (d[1] == (c.astype(np.int64) + 16 * a.astype(np.int64)).astype(np.int32)).all()


@pytest.mark.parametrize(
    "what, message",
    [
        (1, "not aligned to 32 bytes"),
        (2, "no multiple of 16 bytes apart"),
        (3, "move different matrices"),
        (4, "need all 32 lanes"),
    ],
)
def test_wrong_loads_are_reported(kernels, order, what, message):
    memory, out = aligned(np.zeros(1024, np.float32)), aligned(np.zeros((16, 16), np.float32))
    kernels.run_wmma_wrong_load(memory, out, 0)
    with pytest.raises(RuntimeError, match=message):
        kernels.run_wmma_wrong_load(memory, out, what)


FRAGMENT = "__global__ void f() {{ nvcuda::wmma::fragment<nvcuda::wmma::{}> part; (void)part; }}"


@pytest.mark.parametrize(
    "fragment, is_there",
    [
        ("matrix_a, 16, 16, 16, half, nvcuda::wmma::row_major", True),
        ("matrix_a, 16, 8, 16, half, nvcuda::wmma::row_major", False),
        ("matrix_a, 16, 16, 16, float, nvcuda::wmma::row_major", False),
        ("matrix_a, 16, 16, 16, half", False),
        ("accumulator, 16, 16, 16, half, nvcuda::wmma::row_major", False),
        ("accumulator, 16, 16, 16, double", False),
    ],
)
def test_only_what_cuda_has_compiles(tmp_path, fragment, is_there):
    assert compiles(tmp_path, f"#include <mma.h>\n{FRAGMENT.format(fragment)}") == is_there
