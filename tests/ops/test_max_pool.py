"""What the matrix can't say of `max_pool`: random geometry, places of NaN and -infinity, threads, fx."""

import itertools
import math
import random

import pytest
import torch
from built import ISAS, needs_kernels

import nnzoo_fast
from nnzoo_fast import _extension, nn
from nnzoo_fast.ops import avg_pool, max_pool, min_pool
from nnzoo_fast.ops.conv.outputs import memory_format_of
from nnzoo_fast.ops.max_pool import operation
from nnzoo_fast.ops.max_pool.spec import stock
from nnzoo_fast.spec import Call, Error, run_with_gradients


def random_call(choice: random.Random, generator: torch.Generator) -> Call:
    """Any dimensions, strides, paddings, dilations and layout; whole numbers, so that values tie and sums are exact."""
    n = choice.choice((1, 2, 2, 3))
    kernel = [choice.choice((1, 2, 3, 4)) for _ in range(n)]
    dilation = [choice.choice((1, 1, 2)) for _ in range(n)]
    if side_by_side := choice.random() < 0.3:
        kernel[-1], dilation = 2, [1] * n
    size = [(k - 1) * d + choice.choice((1, 2, 7, 19 if n < 3 else 4)) for k, d in zip(kernel, dilation, strict=True)]
    options = {
        "stride": tuple(k if side_by_side else choice.choice((1, 2, 3, 5)) for k in kernel),
        "padding": tuple(0 if side_by_side else choice.randint(0, k // 2) for k in kernel),
        "dilation": tuple(dilation),
        "ceil_mode": choice.random() < 0.5,
        "return_indices": choice.random() < 0.5,
        "minimum": choice.random() < 0.3,
    }
    shape = choice.choice((1, 2)), choice.choice((1, 3, 17)), *size
    dtype = choice.choice((torch.float32, torch.bfloat16, torch.float64))
    input = torch.randint(-3, 4, shape, generator=generator).to(dtype)
    if n > 1 and choice.random() < 0.5:
        input = input.contiguous(memory_format=torch.channels_last if n == 2 else torch.channels_last_3d)
    return Call((input.requires_grad_(), tuple(kernel)), options)


@needs_kernels
@pytest.mark.parametrize("name", ISAS)
def test_random_geometry(name, isa, poisoned_memory):
    isa(name)
    choice, generator = random.Random(name), torch.Generator().manual_seed(0)
    for _ in range(60):
        call = random_call(choice, generator)
        expected = run_with_gradients(stock, call)
        with nnzoo_fast.backend("cpu"):
            found = run_with_gradients(max_pool, call)
        for one, other in zip(found[0], expected[0], strict=True):
            assert torch.equal(one, other), call.kwargs
            assert one.numel() < 2 or memory_format_of(one) == memory_format_of(other)
        for one, other in zip(found[1], expected[1], strict=True):
            assert Error.of(one, other).frobenius <= 4 * torch.finfo(one.dtype).eps, call.kwargs


@needs_kernels
@pytest.mark.parametrize("values", [math.nan, -math.inf, math.inf])
@pytest.mark.parametrize("windows", [(3, 2, 1), (2, 2)], ids=str)
def test_places_of_special_values(values, windows):
    input = torch.randint(-2, 3, (2, 3, 15, 37)).float()
    input[torch.rand(input.shape) < 0.3] = values
    expected = stock(input, *windows, return_indices=True)
    for backend in ("cpu", "reference"):
        found = max_pool(input, *windows, return_indices=True, backend=backend)
        assert torch.equal(found[0].nan_to_num(99), expected[0].nan_to_num(99))
        assert torch.equal(found[1], expected[1])


@needs_kernels
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_threads_change_no_bit(layout):
    before = torch.get_num_threads()
    input = torch.randn(3, 40, 57, 61).contiguous(memory_format=layout).requires_grad_()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with nnzoo_fast.backend("cpu"):
                results.append(run_with_gradients(max_pool, Call((input, 3, 2, 1))))
    finally:
        torch.set_num_threads(before)
    for found in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(sum(found, []), sum(results[0], []), strict=True))


def test_min_pool():
    input = torch.randn(2, 3, 9, 9)
    value, index = min_pool(input, 3, return_indices=True)
    assert torch.equal(value, -torch.nn.functional.max_pool2d(-input, 3))
    assert torch.equal(input.flatten(2).gather(2, index.flatten(2)).view_as(value), value)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int64], ids=str)
def test_min_pool_of_integers(dtype):
    """The least value is one that has no negative."""
    least = torch.iinfo(dtype).min
    input = torch.tensor([[[[least, 5], [7, 100]]]], dtype=dtype)
    for backend in (None, "reference"):
        value, index = min_pool(input, (2, 2), return_indices=True, backend=backend)
        assert value.item() == min_pool(input, (2, 2), backend=backend).item() == least
        assert index.item() == 0
    traced = torch.fx.symbolic_trace(lambda x: min_pool(x, (2, 2)))
    assert traced(input).item() == least
    assert traced(torch.tensor([[[[-0.5, 5.0], [7.0, -2.0]]]])).item() == -2.0


@pytest.mark.parametrize(
    "pool, name",
    [
        *itertools.product((max_pool, min_pool, avg_pool), ("kernel_size", "stride", "padding")),
        (max_pool, "dilation"),
        (min_pool, "dilation"),
    ],
)
def test_settings_beyond_int32_are_refused(pool, name):
    settings = {"kernel_size": (2, 2), name: (2**31, 1)}
    with pytest.raises(RuntimeError, match=name):
        pool(torch.randn(1, 8, 64, 64), **settings)


@pytest.mark.parametrize("pool", [max_pool, avg_pool])
def test_the_largest_stride(pool):
    """Its multiples are no int32."""
    input = torch.randn(1, 8, 64, 64, requires_grad=True)
    for backend in ("torch", "cpu") if _extension._C else ("torch",):
        output = pool(input, (2, 2), 2**31 - 1, backend=backend)
        (grad,) = torch.autograd.grad(output.sum(), input)
        assert torch.equal(output, pool(input[..., :2, :2], (2, 2)))
        assert grad.count_nonzero() == grad[..., :2, :2].count_nonzero() > 0


@pytest.mark.parametrize("pool", [max_pool, avg_pool])
@pytest.mark.parametrize("padding", [0, 2**30 - 1])
def test_the_largest_kernel(pool, padding):
    """A number for each of its taps would fill the memory: the call goes to stock torch, whatever that says of it."""
    input = torch.randn(1, 2, 8, 9)
    with nnzoo_fast.backend("cpu"), pytest.raises(nnzoo_fast.BackendError, match="padding"):
        pool(input, (2**31 - 1, 2), 2**31 - 1, (padding, 0), ceil_mode=True)


@needs_kernels
@pytest.mark.parametrize("value", [10**12, 30 * 30, -1])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_indices_that_change_behind_autograd_raise(value, layout):
    """Windows of more taps than a byte can number: backward reads the indices that the caller has."""
    input = torch.randn(2, 3, 30, 30).contiguous(memory_format=layout).requires_grad_()
    output, indices = max_pool(input, (20, 20), return_indices=True, backend="cpu")
    indices.data.fill_(value)
    with pytest.raises(IndexError, match=f"index {value} is out of range"):
        output.sum().backward()


@needs_kernels
def test_a_window_that_may_be_empty_is_declined():
    """torch returns -infinity and an index beyond the plane."""
    able, reason = operation.table[0].supports(torch.randn(1, 1, 2), [2], [1], [1], [3], False, False)
    assert not able and "empty" in reason


def test_fx_records_stock_operators():
    layer = nn.MaxPool2d(3, 2, 1)
    input = torch.randn(1, 2, 9, 9)
    assert torch.equal(torch.fx.symbolic_trace(torch.nn.Sequential(layer))(input), layer(input))
    with pytest.raises(TypeError, match="kernel_size"):
        torch.fx.symbolic_trace(lambda x: max_pool(x, 3))


def test_unpooling_takes_our_indices():
    input = torch.randn(2, 3, 8, 8)
    value, index = nn.MaxPool2d(2, return_indices=True)(input)
    assert torch.equal(nn.MaxUnpool2d(2)(value, index).amax((2, 3)), input.amax((2, 3)))
