"""What the matrix can't say of `linear_cross_entropy`: several chunks, threads, frozen tensors, second backward."""

import pytest
import torch
from built import ISAS, needs_kernels

import nnzoo_fast
from nnzoo_fast.ops import linear_cross_entropy
from nnzoo_fast.ops.linear_cross_entropy import cpu
from nnzoo_fast.ops.linear_cross_entropy.reference import reference
from nnzoo_fast.spec import Call, Error, run_with_gradients


def tensors(dtype=torch.float64, rows=23, features=7, classes=301):
    input, weight, bias = torch.randn(rows, features), torch.randn(classes, features), torch.randn(classes)
    target = torch.randint(0, classes, (rows,))
    target[::5] = -100
    return [tensor.to(dtype).requires_grad_() for tensor in (input, weight, bias)], target


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", ISAS)
def test_chunks(name, dtype, isa, poisoned_memory):
    isa(name)
    leaves, target = tensors(dtype)
    expected = [tensor.detach().double().requires_grad_() for tensor in leaves]
    loss = reference(*expected, target, "mean", -100, 0.1)
    truth = [loss, *torch.autograd.grad(loss, expected)]
    for rows in (1, 5, 22, 23):
        found = cpu.forward(*leaves, target, "mean", -100, 0.1, True, chunk_rows=rows)
        for value, exact in zip(found, truth, strict=True):
            assert Error.of(value, exact).frobenius < 16 * torch.finfo(dtype).eps


@needs_kernels
def test_threads_change_no_bit():
    leaves, target = tensors(torch.float32, 97, 33, 500)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with nnzoo_fast.backend("cpu"):
                call = Call((leaves[0], leaves[1], target, leaves[2]))
                results.append(run_with_gradients(linear_cross_entropy, call))
    finally:
        torch.set_num_threads(before)
    for found in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(sum(found, []), sum(results[0], []), strict=True))


@needs_kernels
@pytest.mark.parametrize("frozen", range(3))
def test_a_frozen_tensor(frozen):
    (leaves, target) = tensors()
    leaves[frozen].requires_grad_(False)
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    loss = linear_cross_entropy(leaves[0], leaves[1], target, leaves[2], backend="cpu")
    expected = reference(*leaves, target, "mean", -100, 0.0)
    for found, exact in zip(torch.autograd.grad(loss, wanted), torch.autograd.grad(expected, wanted), strict=True):
        torch.testing.assert_close(found, exact)


@needs_kernels
def test_gradients_belong_to_the_caller():
    """Changing what backward returned changes nothing for the next backward of the same graph."""
    leaves, target = tensors()
    loss = linear_cross_entropy(leaves[0], leaves[1], target, leaves[2], backend="cpu")
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    kept = [grad.clone() for grad in first]
    for grad in first:
        grad.zero_()
    assert all(torch.equal(*pair) for pair in zip(torch.autograd.grad(loss, leaves), kept, strict=True))


def test_stock_torch_means_the_same():
    leaves, target = tensors()
    theirs = getattr(torch.nn.functional, "linear_cross_entropy", None)
    if theirs is None:
        pytest.skip("this torch has no linear_cross_entropy")
    expected = theirs(leaves[0], leaves[1], target, linear_bias=leaves[2])
    torch.testing.assert_close(linear_cross_entropy(leaves[0], leaves[1], target, leaves[2]), expected)
