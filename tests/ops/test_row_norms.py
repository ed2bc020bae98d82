"""What the matrix of samples can't say of `layer_norm` and `rms_norm`."""

import math

import pytest
import torch
import torch.nn.functional as F

import nnzoo_fast
from nnzoo_fast import _extension, nn
from nnzoo_fast.norms import rows
from nnzoo_fast.ops.layer_norm import layer_norm, operation
from nnzoo_fast.ops.rms_norm import rms_norm
from nnzoo_fast.random import keep_mask
from nnzoo_fast.spec import Error, allowed_error

needs_kernels = pytest.mark.skipif(_extension._C is None, reason="the C++ kernels aren't built")


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
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("subtract_mean", [True, False])
def test_the_kernel_adds_a_residual_behind_dropout(p, subtract_mean):
    """Both results, and the gradients of all that they come from; the mask is that of `random.keep_mask`."""
    generator = torch.Generator().manual_seed(0)
    shape, seed = (70, 37), 5
    input, residual, grad, grad_sum = (torch.randn(shape, generator=generator).double() for _ in range(4))
    weight = torch.randn(37, generator=generator).double()
    output, sum, grad_x, grad_input = (torch.full_like(input, math.nan) for _ in range(4))
    mean, rstd, grad_weight = (torch.full((size,), math.nan, dtype=torch.float64) for size in (70, 70, 37))
    mean = mean if subtract_mean else None
    rows.forward(input, residual, weight, None, output, sum, mean, rstd, shape, 1e-5, subtract_mean, p, seed)
    gradients = (grad_x, grad_input, grad_weight, None)
    rows.backward(grad, grad_sum, sum, weight, mean, rstd, gradients, shape, torch.float64, p, seed)

    leaves = [tensor.requires_grad_() for tensor in (residual, input, weight)]
    kept = keep_mask(torch.tensor([seed]), torch.Size(shape), p)
    expected_sum = residual + torch.where(kept, input / (1 - p), 0.0)
    norm = F.layer_norm if subtract_mean else F.rms_norm
    expected = norm(expected_sum, (37,), weight, eps=1e-5)
    torch.testing.assert_close((output, sum), (expected.detach(), expected_sum.detach()))
    truth = torch.autograd.grad((expected, expected_sum), leaves, (grad, grad_sum))
    torch.testing.assert_close((grad_x, grad_input, grad_weight), truth)
