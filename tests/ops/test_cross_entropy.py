"""What the matrix can't say of `softmax` and `cross_entropy`: threads, memory, what is left to stock torch."""

import pytest
import torch
import torch.nn.functional as F
from built import needs_kernels

import nnzoo_fast
from nnzoo_fast import ops
from nnzoo_fast.nn import functional
from nnzoo_fast.ops.cross_entropy import operation
from nnzoo_fast.spec import Call, run_with_gradients


@needs_kernels
@pytest.mark.parametrize("function, more", [(ops.softmax, 1), (ops.log_softmax, 1), (ops.cross_entropy, "classes")])
def test_threads_change_no_bit(function, more):
    input = torch.randn(203, 997, requires_grad=True)
    args = (input, torch.randint(0, 997, (203,)) if more == "classes" else more)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with nnzoo_fast.backend("cpu"):
                results.append(run_with_gradients(function, Call(args)))
    finally:
        torch.set_num_threads(before)
    for found in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(sum(found, []), sum(results[0], []), strict=True))


@needs_kernels
def test_backward_keeps_two_numbers_a_row():
    input = torch.randn(64, 1000, requires_grad=True)
    loss = ops.cross_entropy(input, torch.randint(0, 1000, (64,)), backend="cpu")
    kept = [t for t in loss.grad_fn.saved_tensors if t is not None and t.data_ptr() != input.data_ptr()]
    assert sum(t.numel() for t in kept if t.is_floating_point()) == 2 * 64 + 1


def test_old_arguments_and_autocast_take_stock_operators():
    input, target = torch.randn(4, 300), torch.randint(0, 300, (4,))
    expected = F.cross_entropy(input, target, reduction="sum")
    with pytest.warns(UserWarning, match="size_average"):
        assert torch.equal(functional.cross_entropy(input, target, size_average=False), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, theirs = functional.cross_entropy(input, target), F.cross_entropy(input, target)
        assert found.dtype == theirs.dtype and torch.equal(found, theirs)
        assert functional.softmax(input.bfloat16(), 1).dtype == F.softmax(input.bfloat16(), 1).dtype


def test_a_dimension_that_is_not_named():
    with pytest.warns(UserWarning, match="dim"):
        assert torch.equal(functional.softmax(torch.ones(2, 3)), torch.full((2, 3), 1 / 3))


@needs_kernels
def test_a_weight_can_be_differentiated():
    input, target = torch.randn(6, 9, dtype=torch.float64), torch.randint(0, 9, (6,))
    weight = torch.rand(9, dtype=torch.float64, requires_grad=True)

    def gradient(backend):
        loss = ops.cross_entropy(input.requires_grad_(), target, weight, backend=backend)
        return torch.autograd.grad(loss, [input, weight])

    for found, expected in zip(gradient("cpu"), gradient("reference"), strict=True):
        torch.testing.assert_close(found, expected)


def test_few_classes_are_declined():
    args = torch.randn(4096, 32), torch.zeros(4096, dtype=torch.int64), None, "mean", -100, 0.0
    pays, reason = operation.table[0].pays(*args)
    assert not pays and "classes" in reason


@pytest.mark.parametrize("dtypes", [(torch.bfloat16, torch.float32), (torch.float32, torch.float64)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_probabilities_of_another_dtype_take_stock_torch(dtypes, weighted):
    input, target = torch.randn(64, 1000, dtype=dtypes[0], requires_grad=True), torch.rand(64, 1000, dtype=dtypes[1])
    weight = torch.rand(1000, dtype=torch.float64) if weighted else None
    found, expected = (cross_entropy(input, target, weight) for cross_entropy in (ops.cross_entropy, F.cross_entropy))
    assert found.dtype == expected.dtype and torch.equal(found, expected)


def test_a_weight_of_another_dtype_takes_stock_torch():
    input, target, weight = torch.randn(64, 1000), torch.rand(64, 1000), torch.rand(1000, dtype=torch.float64)
    assert torch.equal(ops.cross_entropy(input, target, weight), F.cross_entropy(input, target, weight))


@needs_kernels
@pytest.mark.parametrize("value", [10**12, -1])
def test_targets_that_change_behind_autograd_raise(value):
    target = torch.zeros(64, dtype=torch.int64)
    loss = ops.cross_entropy(torch.randn(64, 1000, requires_grad=True), target, backend="cpu")
    target.data.fill_(value)
    with pytest.raises(IndexError, match=f"target {value} is out of bounds"):
        loss.backward()


@needs_kernels
@pytest.mark.parametrize("function", [ops.softmax, ops.log_softmax])
@pytest.mark.parametrize("create_graph", [False, True])
def test_the_input_of_softmax_may_change_after_the_call(function, create_graph):
    leaf = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)

    def gradients(change):
        input = leaf * 1
        output = function(input, 1, backend="cpu")
        if change:
            input.zero_()
        first = torch.autograd.grad((output**3).sum(), leaf, create_graph=create_graph)
        return first + torch.autograd.grad((first[0] ** 2).sum(), leaf) if create_graph else first

    for found, expected in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(found, expected)
