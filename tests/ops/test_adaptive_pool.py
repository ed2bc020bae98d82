"""What the matrix can't say of `adaptive_avg_pool` and `adaptive_max_pool`: random geometry, threads, autocast."""

import math
import random

import pytest
import torch
from built import ISAS, needs_kernels

import nnzoo_fast
from nnzoo_fast import nn
from nnzoo_fast.ops import adaptive_avg_pool, adaptive_max_pool
from nnzoo_fast.ops.adaptive_avg_pool.spec import stock as stock_mean
from nnzoo_fast.ops.adaptive_max_pool import operation
from nnzoo_fast.ops.adaptive_max_pool.spec import stock as stock_max
from nnzoo_fast.spec import Call, Error, run_with_gradients

POOLS = [pytest.param(adaptive_avg_pool, stock_mean, id="avg"), pytest.param(adaptive_max_pool, stock_max, id="max")]


def random_call(choice: random.Random, generator: torch.Generator) -> Call:
    """Any dimensions and layout, more windows than elements too, and one of all; whole numbers, so that values tie."""
    n = choice.choice((1, 2, 2, 3))
    size = [choice.choice((1, 2, 7, 19 if n < 3 else 5, 37 if n < 3 else 6, 517 if n < 2 else 8)) for _ in range(n)]
    count = [1] * n if choice.random() < 0.3 else [choice.choice((1, 2, 3, 7, length, None)) for length in size]
    shape = choice.choice((1, 2)), choice.choice((1, 3, 17, 70)), *size
    input = torch.randint(-3, 4, shape, generator=generator).double()
    if n > 1 and choice.random() < 0.5:
        input = input.contiguous(memory_format=torch.channels_last if n == 2 else torch.channels_last_3d)
    return Call((input.requires_grad_(), tuple(count)))


def for_stock(call: Call) -> Call:
    """torch's functions of one dimension take no None."""
    input, count = call.args
    sizes = [size if one is None else one for one, size in zip(count, input.shape[2:], strict=True)]
    return Call((input, sizes), call.kwargs)


@needs_kernels
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("pool, stock", POOLS)
def test_random_geometry(name, pool, stock, isa, poisoned_memory):
    isa(name)
    choice, generator = random.Random(name), torch.Generator().manual_seed(0)
    for _ in range(40):
        call = random_call(choice, generator)
        if pool is adaptive_max_pool and choice.random() < 0.5:
            call.kwargs["return_indices"] = True
        expected = run_with_gradients(stock, for_stock(call))
        with nnzoo_fast.backend("cpu"):
            found = run_with_gradients(pool, call)
        for one, other in zip(sum(found, []), sum(expected, []), strict=True):
            assert Error.of(one, other).largest < 1e-14, call


@needs_kernels
@pytest.mark.parametrize("values", [math.nan, -math.inf, math.inf])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(4, 5), 1], ids=str)
def test_places_of_special_values(values, layout, size):
    generator = torch.Generator().manual_seed(0)
    input = torch.randint(-2, 3, (2, 3, 15, 37), generator=generator).float()
    input[torch.rand(input.shape, generator=generator) < 0.3] = values
    input = input.contiguous(memory_format=layout)
    expected = stock_max(input, size, return_indices=True)
    for backend in ("cpu", "reference"):
        found = adaptive_max_pool(input, size, return_indices=True, backend=backend)
        assert torch.equal(found[0].nan_to_num(99), expected[0].nan_to_num(99))
        assert torch.equal(found[1], expected[1])
        assert torch.equal(adaptive_max_pool(input, size, backend=backend).nan_to_num(99), found[0].nan_to_num(99))


@needs_kernels
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("pool, stock", POOLS)
@pytest.mark.parametrize("size", [1, (5, 6)])
def test_threads_change_no_bit(layout, pool, stock, size):
    before, results = torch.get_num_threads(), []
    input = torch.randn(3, 40, 57, 61).contiguous(memory_format=layout).requires_grad_()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with nnzoo_fast.backend("cpu"):
                results.append(run_with_gradients(pool, Call((input, size))))
    finally:
        torch.set_num_threads(before)
    for found in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(sum(found, []), sum(results[0], []), strict=True))


@needs_kernels
def test_a_mean_of_many_elements_rounds_little():
    """As torch's cascade does: term by term, the error would grow with the square root of their number."""
    input = torch.randn(4, 1, 1000, 999, generator=torch.Generator().manual_seed(0))
    exact = input.double().mean((2, 3), keepdim=True)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = adaptive_avg_pool(input.contiguous(memory_format=layout), 1, backend="cpu")
        assert Error.of(found, exact).frobenius <= 2 * Error.of(stock_mean(input, 1), exact).frobenius + 4 * 2**-23


@pytest.mark.parametrize("pool, stock", POOLS)
def test_no_windows_at_all(pool, stock):
    input = torch.randn(2, 3, 4, 5)
    for backend in ("torch", "reference"):
        assert pool(input, (0, 2), backend=backend).shape == (2, 3, 0, 2)


@needs_kernels
def test_indices_that_change_behind_autograd_raise():
    input = torch.randn(2, 3, 30, 30, requires_grad=True)
    output, indices = adaptive_max_pool(input, 3, return_indices=True, backend="cpu")
    indices.data.fill_(900)
    with pytest.raises(IndexError, match="adaptive_max_pool: index 900 is out of range"):
        output.sum().backward()


def test_a_plane_that_float32_cannot_number_is_declined():
    able, reason = operation.table[0].supports(torch.empty(1, 1, 2**24 + 1, device="meta"), [1])
    assert not able and "plane" in reason


@pytest.mark.parametrize("layer", [nn.AdaptiveAvgPool2d((2, 3)), nn.AdaptiveMaxPool2d((2, 3))], ids=repr)
def test_fx_records_stock_operators(layer):
    input = torch.randn(1, 2, 9, 9)
    assert torch.equal(torch.fx.symbolic_trace(torch.nn.Sequential(layer))(input), layer(input))


def test_fx_needs_the_number_of_dimensions():
    with pytest.raises(TypeError, match="output_size"):
        torch.fx.symbolic_trace(lambda x: adaptive_avg_pool(x, 3))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["AdaptiveAvgPool", "AdaptiveMaxPool", "AvgPool", "MaxPool", "LPPool", "MaxUnpool"])
def test_autocast_widens_what_torch_widens(kind, n):
    input = torch.rand(1, 16, *[32 if n < 3 else 12] * n).bfloat16()
    inputs = [input, torch.arange(input[0, 0].numel()).expand(1, 16, -1).view(input.shape)] if "Un" in kind else [input]
    settings = (2, 2) if kind == "LPPool" else (2,)
    layers = [getattr(module, f"{kind}{n}d")(*settings) for module in (nn, torch.nn)]
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (layer(*inputs) for layer in layers)
    assert found.dtype == expected.dtype


@needs_kernels
@pytest.mark.parametrize("name", ISAS)
def test_means_of_large_images_stay_accurate(name, isa):
    """Added up one after another, 90,000 pixels lose four digits."""
    isa(name)
    input = torch.rand(1, 3, 300, 300, generator=torch.Generator().manual_seed(0))
    for given in (input, input.contiguous(memory_format=torch.channels_last)):
        found = adaptive_avg_pool(given, (1, 1), backend="cpu")
        torch.testing.assert_close(found.double(), given.double().mean((2, 3), keepdim=True), rtol=5e-7, atol=0)


@pytest.mark.parametrize("layer", [nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.MaxPool2d, nn.AvgPool2d])
def test_sizes_for_another_number_of_dimensions_are_refused(layer):
    with pytest.raises(RuntimeError, match="a 2d pooling takes a number or 2 of them, got"):
        layer((1, 2, 3))(torch.randn(1, 2, 4, 4))
