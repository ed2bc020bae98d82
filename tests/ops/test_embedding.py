"""What the matrix can't say of `embedding`: gradients that stream past the caches, and weights without memory."""

import pytest
import torch
import torch.nn.functional as F

from nnzoo_fast import _extension, ops

needs_kernels = pytest.mark.skipif(_extension._C is None, reason="no C++ kernels here")


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_gradient_that_streams(dtype, isa, poisoned_memory):
    """Rows of 257 values start at any alignment; runs of none between them are of any length."""
    rows, features = 2**25 // (257 * dtype.itemsize) + 1, 257
    weight = torch.zeros(rows, features, dtype=dtype, requires_grad=True)
    index = torch.tensor([0, 3, 4, 5, 5, 9, rows // 2, rows // 2 + 2, rows - 2])
    g = torch.randn(index.shape[0], features).to(dtype)
    (expected,) = torch.autograd.grad(F.embedding(index, weight), weight, g)
    for name in _extension._C.isas():
        isa(name)
        (found,) = torch.autograd.grad(ops.embedding(index, weight, backend="cpu"), weight, g)
        torch.testing.assert_close(found, expected)


def test_a_meta_weight_beside_plain_indices():
    index, weight = torch.tensor([[1, 2, 0]]), torch.empty(4, 3, device="meta")
    assert ops.embedding(index, weight).shape == F.embedding(index, weight).shape == (1, 3, 3)
    assert ops.embedding(index, weight).is_meta
