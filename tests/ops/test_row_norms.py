"""What the matrix of samples can't say of `layer_norm` and `rms_norm`."""

import functools

import pytest
import torch
import torch.nn.functional as F
from built import needs_kernels

import nnzoo_fast
from nnzoo_fast import nn
from nnzoo_fast.machine import last_level_cache
from nnzoo_fast.ops.layer_norm import layer_norm, operation
from nnzoo_fast.ops.rms_norm import rms_norm
from nnzoo_fast.spec import Error, allowed_error


def results(function, input, weight, *rest):
    """Output and gradients of input and weight."""
    output = function(input, input.shape[-1:], weight, *rest)
    return [output, *torch.autograd.grad(output, [input, weight], torch.ones_like(output).cumsum(0) / len(output))]


def leaves(*shape, shift=0.0, dtype=torch.float32):
    torch.manual_seed(0)
    input = (torch.randn(shape) + shift).to(dtype).requires_grad_()
    return input, torch.randn(shape[-1:]).to(dtype).requires_grad_()


@needs_kernels
@pytest.mark.parametrize("function", [layer_norm, rms_norm])
@pytest.mark.parametrize("count", [5, 63, 1500])
def test_bit_equal_for_any_number_of_threads(function, count):
    call = leaves(count, 96)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with nnzoo_fast.backend("cpu"):
                found.append(results(function, *call))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


@needs_kernels
@pytest.mark.parametrize("shift", [0.0, 1e3, -1e5])
@pytest.mark.parametrize("columns", [64, 9000])
def test_far_from_0_as_exact_as_stock(shift, columns):
    """A mean much larger than the deviations: the squares of the values themselves would hold no digit of them."""
    input, weight = leaves(9, columns, shift=shift)
    truth = results(F.layer_norm, input.detach().double().requires_grad_(), weight.detach().double().requires_grad_())
    usual = results(F.layer_norm, input, weight)
    with nnzoo_fast.backend("cpu"):
        found = results(layer_norm, input, weight)
    for ours, theirs, exact in zip(found, usual, truth, strict=True):
        assert Error.of(ours, exact).within(allowed_error(Error.of(theirs, exact), torch.float32, columns))


@needs_kernels
@pytest.mark.parametrize("function, stock", [(layer_norm, F.layer_norm), (rms_norm, F.rms_norm)])
def test_float32_weight_of_a_bfloat16_input(function, stock):
    input, weight = leaves(70, 33, dtype=torch.bfloat16)
    weight = weight.detach().float().requires_grad_()
    usual = results(stock, input, weight)
    truth = results(stock, input.detach().double().requires_grad_(), weight.detach().double().requires_grad_())
    with nnzoo_fast.backend("cpu"):
        found = results(function, input, weight)
    for ours, theirs, exact in zip(found, usual, truth, strict=True):
        assert ours.dtype == theirs.dtype
        assert Error.of(ours, exact).within(allowed_error(Error.of(theirs, exact), torch.bfloat16, 70))


def test_little_work_is_declined_and_remembered():
    input, weight = leaves(4, 8)
    operation.declined.keys.clear()
    torch.testing.assert_close(layer_norm(input, (8,), weight), F.layer_norm(input, (8,), weight), rtol=0, atol=0)
    assert len(operation.declined.keys) == 1


@needs_kernels
def test_gradients_that_nobody_wants_are_not_computed():
    input, weight = leaves(70, 9)
    for wanted in (input, weight):
        output = layer_norm(input, (9,), weight, backend="cpu")
        (found,) = torch.autograd.grad(output, wanted, output.detach())
        (expected,) = torch.autograd.grad(F.layer_norm(input, (9,), weight), wanted, output.detach())
        torch.testing.assert_close(found, expected)


def test_layers_keep_torchs_arguments():
    assert nn.LayerNorm((2, 3), elementwise_affine=False).weight is None
    assert nn.LayerNorm(4, bias=False).bias is None
    assert nn.RMSNorm(4).eps is None


@needs_kernels
@pytest.mark.parametrize("dtype, columns", [(torch.float32, 1024), (torch.bfloat16, 1024), (torch.float32, 1021)])
def test_a_call_larger_than_the_cache_gives_the_same_bits(dtype, columns):
    """Its results go past the caches, if rows are whole lines; those of its halves don't."""
    size = torch.finfo(dtype).bits // 8
    rows = last_level_cache() // 2 // (2 * columns * size) // 2 * 2 + 64
    input, weight = leaves(rows, columns, dtype=dtype)
    results_of = functools.partial(results, functools.partial(layer_norm, backend="cpu"))
    whole = results_of(input, weight)[:2]
    with torch.no_grad():
        cotangents = torch.ones(rows, columns, dtype=dtype).cumsum(0) / rows
    for half, grads in zip(input.detach().chunk(2), cotangents.chunk(2), strict=True):
        half = half.clone().requires_grad_()
        output = layer_norm(half, (columns,), weight, backend="cpu")
        first = 0 if half[0].equal(input[0]) else rows // 2
        found = output, *torch.autograd.grad(output, half, grads)
        assert all(torch.equal(mine, of[first : first + rows // 2]) for mine, of in zip(found, whole, strict=True))
