"""wgmma: operands in every layout of its descriptors, loaded by tensor maps; and what a missing wait shows."""

import numpy as np
import pytest
import torch
from test_bulk import aligned


def operand(rows, columns, dtype, seed):
    """Small whole numbers, of which every sum is exact."""
    values = torch.from_numpy(np.random.default_rng(seed).integers(-4, 5, (rows, columns))).to(dtype)
    bits = aligned((rows, columns), np.int16)
    bits[...] = values.view(torch.int16).numpy()
    return values.double().numpy(), bits


LAYOUTS = [(64, span, transposed) for span in (16, 32, 64, 128) for transposed in range(4)]
LAYOUTS += [(8, 128, 0), (24, 16, 0), (256, 128, 0), (128, 128, 2), (128, 128, 3)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("columns, span, transposed", LAYOUTS)
def test_layouts(kernels, columns, span, transposed, dtype):
    a, a_bits = operand(64, 64, dtype, 0)
    b, b_bits = operand(64, columns, dtype, 1) if transposed & 2 else operand(columns, 64, dtype, 1)
    out = np.zeros((64, columns), np.float32)
    kernels.run_wgmma(a_bits, b_bits, out, columns, span, transposed, int(dtype == torch.float16))
    left, right = a.T if transposed & 1 else a, b if transposed & 2 else b.T
    assert (out == left @ right).all()
    assert (out != a.T @ right if not transposed & 1 else out != a @ right).any()


def from_registers(kernels, twin):
    a, a_bits = operand(64, 16, torch.float16, 2)
    b, b_bits = operand(16, 8, torch.float16, 3)
    out = np.zeros((64, 8), np.float32)
    kernels.run_wgmma_registers(a_bits, b_bits, out, twin)
    return out, 1 + a @ b


def test_a_from_registers(kernels, order):
    out, expected = from_registers(kernels, 0)
    assert (out == expected).all()


def test_missing_waits_show(kernels, order):
    out, _ = from_registers(kernels, 1)
    assert (out == 1).all()
    out, _ = from_registers(kernels, 2)
    assert (out == 1).all()


MISTAKES = {
    "no fence": (3, r"without a wgmma\.fence"),
    "no wait": (4, "wgmma that it has not waited for"),
    "accumulators that are written to": (5, "accumulators of wgmma were written before its wait"),
    "a warp that has no part in it": (6, r"wgmma of its warpgroup \(96 of its 128 threads have started it\)"),
    "an operand in static shared memory": (7, "not in dynamic shared memory"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_reported(kernels, order, what):
    which, message = MISTAKES[what]
    with pytest.raises(RuntimeError, match=message):
        from_registers(kernels, which)


def test_a_warpgroup_has_four_warps(kernels):
    with pytest.raises(RuntimeError, match="warpgroup of 128 threads"):
        kernels.run_wgmma_of_three_warps(*(aligned(1024, np.int16) for _ in "ab"), np.zeros(512, np.float32))


def test_named_barriers(kernels, order):
    out = np.zeros(384, np.int32)
    kernels.run_meet_by_name(out, 0)
    assert (out.reshape(3, 128) == [[0], [7], [0]]).all()


@pytest.mark.parametrize(
    "mistake, message",
    [
        (1, "named barrier 1 is for"),
        (2, "one of 1 to 15"),
        (3, "multiple of 32"),
        (4, r"threads 256-383 wait for a named barrier \(128 of 256 threads are there\)"),
    ],
)
def test_mistakes_with_named_barriers(kernels, order, mistake, message):
    with pytest.raises(RuntimeError, match=message):
        kernels.run_meet_by_name(np.zeros(384, np.int32), mistake)
