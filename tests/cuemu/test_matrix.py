"""Tensor-core instructions, alone and in a matrix product."""

import numpy as np
import pytest
import torch
from test_wgmma import operand


@pytest.mark.parametrize("from_shared", [0, 1], ids=["gathered", "ldmatrix"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mma(kernels, order, dtype, from_shared):
    torch.manual_seed(0)
    a, b, c, d = torch.randn(16, 16).to(dtype), torch.randn(16, 8).to(dtype), torch.randn(16, 8), torch.zeros(16, 8)
    bits = [t.view(torch.int16).numpy() for t in (a, b)]
    kernels.run_mma(*bits, c.numpy(), d.numpy(), int(dtype == torch.float16), from_shared)
    assert torch.allclose(d.double(), a.double() @ b.double() + c.double(), atol=1e-5)
    assert not torch.allclose(d.double(), b.double().repeat(1, 2) @ a.double()[:, :8] + c.double(), atol=1e-1)


def test_mma_tf32_rounds_its_operands(kernels, order):
    torch.manual_seed(0)
    a, b, c, d = torch.randn(16, 8), torch.randn(8, 8), torch.randn(16, 8), torch.zeros(16, 8)
    kernels.run_mma_tf32(a.numpy(), b.numpy(), c.numpy(), d.numpy())

    def tf32(x):
        return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32).double()

    assert torch.allclose(d.double(), tf32(a) @ tf32(b) + c.double(), atol=1e-5)
    assert not torch.allclose(d.double(), a.double() @ b.double() + c.double(), atol=1e-5)


@pytest.mark.parametrize("which", ["tiled", "in_registers"])
def test_matmul(kernels, order, which):
    a, b, c = torch.randn(64, 64), torch.randn(64, 64), torch.zeros(64, 64)
    getattr(kernels, f"matmul_{which}")(a.numpy(), b.numpy(), c.numpy(), 64)
    assert torch.allclose(c, a @ b, atol=1e-4)


def test_matmul_on_tensor_cores(kernels, order):
    a, b, c = torch.randn(128, 128).bfloat16(), torch.randn(128, 128).bfloat16(), torch.zeros(128, 128)
    bits = [t.contiguous().view(torch.int16).numpy() for t in (a, b.t())]
    kernels.matmul_on_tensor_cores(*bits, c.numpy(), 128, 1)
    assert torch.allclose(c, a.float() @ b.float(), atol=1e-3)
    kernels.matmul_on_tensor_cores(*bits, c.numpy(), 128, 0)
    assert not torch.allclose(c, a.float() @ b.float(), atol=1e-3)


@pytest.mark.parametrize("depth, types", [(32, "bb"), (32, "Bb"), (32, "BB"), (16, "bb")])
def test_mma_of_bytes(kernels, order, depth, types):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (16, depth), dtype=np.uint8), rng.integers(0, 256, (depth, 8), dtype=np.uint8)
    c, d = rng.integers(-(2**31), 2**31, (16, 8)).astype(np.int32), np.zeros((16, 8), np.int32)
    kernels.run_mma_of_bytes(a, b, c, d, depth, types.count("B"))
    products = a.view(types[0]).astype(np.int64) @ b.view(types[1]).astype(np.int64)
    assert (d == (products + c).astype(np.int32)).all()


def test_mma_in_halves(kernels, order):
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(-4, 5, shape).astype(np.float16) for shape in ((16, 16), (16, 8), (16, 8)))
    d = np.zeros((16, 8), np.float16)
    kernels.run_mma_in_halves(a, b, c, d)
    assert (d == a @ b + c).all()


def test_copies_of_matrices(kernels, order):
    values, out = np.arange(256, dtype=np.float16).reshape(4, 8, 8), np.zeros((6, 4, 8, 8), np.float16)
    kernels.run_copy_matrices(values, out)
    for way, transposed in enumerate((False, True, True, False, False, True)):
        assert (out[way] == (values.transpose(0, 2, 1) if transposed else values)).all(), way


def test_matmul_on_hopper(kernels, order):
    a, a_bits = operand(128, 320, torch.bfloat16, 0)
    b, b_bits = operand(256, 320, torch.bfloat16, 1)
    out = np.zeros((128, 256), np.float32)
    kernels.matmul_on_hopper(a_bits, b_bits, out, 128, 256, 320)
    assert (out == a @ b.T).all()
