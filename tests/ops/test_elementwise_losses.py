"""What the matrix can't say of the elementwise losses: threads, gradients that torch has not, and old arguments."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from built import needs_kernels

from nnzoo_fast import nn, ops


def distributions(rows=300, columns=77):
    input = torch.randn(rows, columns).log_softmax(1).requires_grad_()
    return input, torch.rand(rows, columns).softmax(1)


@needs_kernels
@pytest.mark.parametrize("loss", [ops.kl_div, ops.binary_cross_entropy_with_logits])
@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_no_number_of_threads_changes_a_loss(loss, reduction):
    input, target = distributions()
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            output = loss(input, target, reduction=reduction, backend="cpu")
            results.append((output.detach(), torch.autograd.grad(output.sum(), input)[0]))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@needs_kernels
def test_a_long_sum_in_float32_keeps_its_digits():
    input, target = torch.full((1 << 22,), 0.1), torch.full((1 << 22,), 0.3)
    exact = F.binary_cross_entropy_with_logits(input[:1].double(), target[:1].double())
    found = ops.binary_cross_entropy_with_logits(input, target, backend="cpu")
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["weight", "pos_weight"])
def test_weights_are_no_variables(name):
    """Torch has no derivative by them, and says so where one would be asked for."""
    input, target = distributions(4, 6)
    factor = {name: torch.rand(6, requires_grad=True)}
    for loss in (F.binary_cross_entropy_with_logits, ops.binary_cross_entropy_with_logits):
        with pytest.raises(RuntimeError, match=name):
            loss(input, target, **factor)
        with torch.no_grad():
            loss(input, target, **factor)


def test_old_arguments_are_torchs():
    input, target = distributions(4, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("kl_div", "binary_cross_entropy_with_logits"):
            for old in ({"size_average": False}, {"reduce": False}):
                ours = getattr(nn.functional, name)(input, target, **old)
                torch.testing.assert_close(ours, getattr(F, name)(input, target, **old))


def test_a_mean_of_kl_div_warns_as_in_torch():
    input, target = distributions(4, 6)
    with pytest.warns(UserWarning, match="batchmean"):
        nn.functional.kl_div(input, target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.functional.kl_div(input, target, reduction="batchmean")


def test_autocast_gives_torchs_dtypes():
    input, target = distributions(40, 600)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for name in ("kl_div", "binary_cross_entropy_with_logits"):
            low = input.detach().bfloat16()
            ours = getattr(nn.functional, name)(low, target.bfloat16(), reduction="sum")
            assert ours.dtype == getattr(F, name)(low, target.bfloat16(), reduction="sum").dtype
