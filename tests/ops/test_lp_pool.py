"""What the matrix can't say of `lp_pool`: random geometry, infinite norms, windows of zeros, what is declined."""

import math
import random

import pytest
import torch
from built import ISAS, needs_kernels

import nnzoo_fast
from nnzoo_fast import nn
from nnzoo_fast.ops import lp_pool
from nnzoo_fast.ops.lp_pool import operation
from nnzoo_fast.ops.lp_pool.spec import stock
from nnzoo_fast.spec import Call, Error, run_with_gradients


def random_call(choice: random.Random) -> Call:
    n = choice.choice((1, 2, 2, 3))
    kernel = [choice.choice((1, 2, 3, 4)) for _ in range(n)]
    size = [k + choice.choice((0, 1, 6, 18 if n < 3 else 4)) for k in kernel]
    options = {"stride": tuple(choice.choice((1, 2, 3, 5)) for _ in range(n)), "ceil_mode": choice.random() < 0.5}
    norm = choice.choice((1, 2, 3, 4, 0.5, 2.5, -1))
    input = torch.randn(choice.choice((1, 2)), choice.choice((1, 3, 17)), *size, dtype=torch.float64).abs() + 0.25
    if n > 1 and choice.random() < 0.5:
        input = input.contiguous(memory_format=torch.channels_last if n == 2 else torch.channels_last_3d)
    return Call((input.requires_grad_(), norm, tuple(kernel)), options)


@needs_kernels
@pytest.mark.parametrize("name", ISAS)
def test_random_geometry(name, isa, poisoned_memory):
    isa(name)
    choice = random.Random(name)
    for _ in range(40):
        call = random_call(choice)
        expected = run_with_gradients(stock, call)
        with nnzoo_fast.backend("cpu"):
            found = run_with_gradients(lp_pool, call)
        for one, other in zip(sum(found, []), sum(expected, []), strict=True):
            assert Error.of(one, other).largest < 1e-13, call


@pytest.mark.parametrize("norm", [math.inf, -math.inf])
def test_infinite_norms(norm):
    call = Call((torch.randn(2, 3, 9, 11, requires_grad=True), norm, 3), {"stride": 2, "ceil_mode": True})
    for found, expected in zip(run_with_gradients(lp_pool, call), run_with_gradients(stock, call), strict=True):
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@needs_kernels
@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("norm", [1, 2, 3])
def test_windows_of_zeros_have_no_gradient(backend, norm):
    input = torch.zeros(1, 1, 4, 6)
    input[..., 4:] = 2.0
    call = Call((input.requires_grad_(), norm, 2))
    with nnzoo_fast.backend(backend):
        found = run_with_gradients(lp_pool, call)
    torch.testing.assert_close(found[1][0], run_with_gradients(stock, call)[1][0])
    assert found[1][0].count_nonzero() == 8


@needs_kernels
def test_the_root_of_a_negative_sum_is_nan():
    input = -torch.ones(1, 1, 4, 4)
    assert stock(input, 3, 2).isnan().all()
    assert lp_pool(input, 3, 2, backend="cpu").isnan().all()


@needs_kernels
def test_powers_value_by_value_are_declined():
    pays, reason = operation.table[0].pays(torch.randn(8, 64, 56, 56), 2.5, [2, 2], [2, 2], False)
    assert not pays and "norm_type 2.5" in reason


def test_fx_records_stock_operators():
    layer, input = nn.LPPool2d(2, (3, 2)), torch.randn(1, 2, 9, 9)
    assert torch.equal(torch.fx.symbolic_trace(torch.nn.Sequential(layer))(input), layer(input))
