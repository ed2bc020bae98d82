"""What the matrix can't say of `embedding`: gradients that stream past the caches, and weights without memory; and of
`embedding_bag`: gradients with a graph."""

import pytest
import torch
import torch.nn.functional as F
from built import needs_kernels

from nnzoo_fast import _extension, ops


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


@needs_kernels
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_gradients_of_the_largest_with_a_graph(padding_idx):
    """They come from the places that were kept, without the table, which backward has no need of."""
    weight, indices = torch.randn(9, 5, dtype=torch.float64, requires_grad=True), torch.randint(0, 9, (30,))
    options = {"offsets": torch.tensor([0, 0, 8, 13]), "mode": "max", "padding_idx": padding_idx}
    output = ops.embedding_bag(indices, weight, **options, backend="cpu")
    stock = F.embedding_bag(indices, weight, **options)
    grads = torch.randn(3, *output.shape, dtype=torch.float64)
    expected = torch.stack([torch.autograd.grad(stock, weight, grad, retain_graph=True)[0] for grad in grads])
    (attached,) = torch.autograd.grad(output, weight, grads[0], create_graph=True)
    (batched,) = torch.autograd.grad(output, weight, grads, is_grads_batched=True)
    torch.testing.assert_close([attached, batched], [expected[0], expected])
