"""Tensor-core instructions, alone and in a matrix product."""

import pytest
import torch


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
