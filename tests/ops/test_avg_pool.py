"""What the matrix can't say of `avg_pool`: random geometry, threads, fx."""

import random

import pytest
import torch
from built import ISAS, needs_kernels

import nnzoo_fast
from nnzoo_fast import nn
from nnzoo_fast.ops import avg_pool
from nnzoo_fast.ops.avg_pool.spec import stock
from nnzoo_fast.spec import Call, Error, run_with_gradients


def random_call(choice: random.Random) -> Call:
    n = choice.choice((1, 2, 2, 3))
    kernel = [choice.choice((1, 2, 3, 4)) for _ in range(n)]
    if side_by_side := choice.random() < 0.3:
        kernel[-1] = 2
    size = [k + choice.choice((0, 1, 6, 18 if n < 3 else 4)) for k in kernel]
    options = {
        "stride": tuple(k if side_by_side else choice.choice((1, 2, 3, 5)) for k in kernel),
        "padding": tuple(0 if side_by_side else choice.randint(0, k // 2) for k in kernel),
        "ceil_mode": choice.random() < 0.5,
        "count_include_pad": choice.random() < 0.5,
        "divisor_override": choice.choice((None, None, 7)),
    }
    input = torch.randn(choice.choice((1, 2)), choice.choice((1, 3, 17)), *size, dtype=torch.float64)
    if n > 1 and choice.random() < 0.5:
        input = input.contiguous(memory_format=torch.channels_last if n == 2 else torch.channels_last_3d)
    return Call((input.requires_grad_(), tuple(kernel)), options)


@needs_kernels
@pytest.mark.parametrize("name", ISAS)
def test_random_geometry(name, isa, poisoned_memory):
    isa(name)
    choice = random.Random(name)
    for _ in range(40):
        call = random_call(choice)
        expected = run_with_gradients(stock, call)
        with nnzoo_fast.backend("cpu"):
            found = run_with_gradients(avg_pool, call)
        for one, other in zip(sum(found, []), sum(expected, []), strict=True):
            assert Error.of(one, other).largest < 1e-14, call.kwargs


@needs_kernels
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_threads_change_no_bit(layout):
    before, results = torch.get_num_threads(), []
    input = torch.randn(3, 40, 37, 41).contiguous(memory_format=layout).requires_grad_()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with nnzoo_fast.backend("cpu"):
                results.append(run_with_gradients(avg_pool, Call((input, 3, 2, 1))))
    finally:
        torch.set_num_threads(before)
    for found in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(sum(found, []), sum(results[0], []), strict=True))


def test_fx_records_stock_operators():
    layer, input = nn.AvgPool2d(3, 2, 1), torch.randn(1, 2, 9, 9)
    assert torch.equal(torch.fx.symbolic_trace(torch.nn.Sequential(layer))(input), layer(input))
