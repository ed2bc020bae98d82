"""What the matrix can't say of `conv_transpose`: random geometry, threads, fx, `output_size` of the layers."""

import random

import pytest
import torch
from built import ISAS, needs_kernels

import nnzoo_fast
from nnzoo_fast import _extension, nn, tables
from nnzoo_fast.ops import conv, conv_transpose
from nnzoo_fast.ops.conv_transpose.reference import reference
from nnzoo_fast.ops.conv_transpose.spec import SPEC
from nnzoo_fast.spec import Call, Error, run_with_gradients


def random_call(choice: random.Random) -> Call:
    """Any dimension, kernel, stride, paddings, dilation and grouping; float64, so that the bound is tight."""
    n = choice.choice((1, 2, 2, 3))
    kernel = [choice.choice((1, 2, 3, 4)) for _ in range(n)]
    stride, dilation = ([choice.choice((1, 2, 3)) for _ in range(n)] for _ in range(2))
    size = [choice.choice((1, 2, 5, 9 if n < 3 else 3)) for _ in range(n)]
    full = [(m - 1) * s + d * (k - 1) + 1 for m, s, d, k in zip(size, stride, dilation, kernel, strict=True)]
    options = {
        "stride": tuple(stride),
        "padding": tuple(choice.randint(0, min(3, (most - 1) // 2)) for most in full),
        "output_padding": tuple(choice.randint(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)),
        "groups": choice.choice((1, 1, 2, 3)),
        "dilation": tuple(dilation),
    }
    groups, out_per_group = options["groups"], choice.choice((1, 3, 9))
    input = torch.randn(choice.choice((1, 2, 3)), choice.choice((1, 4)) * groups, *size, dtype=torch.float64)
    weight = torch.randn(input.shape[1], out_per_group, *kernel, dtype=torch.float64)
    tensors = input, weight, torch.randn(out_per_group * groups, dtype=torch.float64)
    return Call(tuple(tensor.requires_grad_() for tensor in tensors), options)


@needs_kernels
@pytest.mark.parametrize("name", ISAS)
def test_random_geometry(name, isa, poisoned_memory):
    isa(name)
    choice = random.Random(name)
    for _ in range(50):
        call = random_call(choice)
        expected = run_with_gradients(SPEC.stock, call)
        with nnzoo_fast.backend("cpu"):
            found = run_with_gradients(conv_transpose, call)
        for one, other in zip(sum(found, []), sum(expected, []), strict=True):
            error = Error.of(one, other)
            assert max(error.frobenius, error.largest) < 1e-12, call.kwargs


@needs_kernels
def test_threads_change_no_bit():
    before = torch.get_num_threads()
    shapes = (3, 20, 7, 9), (20, 30, 4, 4), (30,)
    call = Call(tuple(torch.randn(shape, requires_grad=True) for shape in shapes), {"stride": 2, "padding": 1})
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with nnzoo_fast.backend("cpu"):
                results.append(sum(run_with_gradients(conv_transpose, call), []))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(result, results[0], strict=True))


@needs_kernels
def test_is_the_gradient_of_conv():
    x = torch.randn(2, 6, 9, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 3, 2, dtype=torch.float64)
    settings = {"stride": 2, "padding": 1, "groups": 2, "backend": "cpu"}
    out = conv(x, weight, **settings)
    g = torch.randn_like(out)
    (expected,) = torch.autograd.grad(out, x, g)
    torch.testing.assert_close(conv_transpose(g, weight, output_padding=(0, 0), **settings), expected)


def test_fx_records_stock_operators():
    class Layer(torch.nn.Module):
        def forward(self, x, weight):
            return conv_transpose(x, weight, stride=2, padding=(1, 0))

    x, weight = torch.randn(2, 3, 8, 9), torch.randn(3, 4, 3, 3)
    traced = torch.fx.symbolic_trace(Layer())
    torch.testing.assert_close(traced(x, weight), SPEC.stock(x, weight, stride=2, padding=(1, 0)))


def test_reference_is_not_torchs_convolution():
    settings = [2, 2], [1, 1], [1, 1], 1, [1, 1]
    with torch.profiler.profile() as profile:
        reference(torch.randn(1, 2, 5, 5), torch.randn(2, 3, 3, 3), None, *settings)
    assert not any("conv" in event.key for event in profile.key_averages())


SIZES = {1: (9,), 2: (9, 6), 3: (4, 3, 5)}


@pytest.mark.parametrize("n", SIZES)
def test_output_size(n):
    stock = getattr(torch.nn, f"ConvTranspose{n}d")(4, 6, 3, stride=2, padding=1, dilation=2)
    ours = nnzoo_fast.accelerate(stock)
    assert type(ours) is getattr(nn, f"ConvTranspose{n}d")
    x = torch.randn(2, 4, *SIZES[n])
    for extra in (0, 1):
        size = [2 * (length - 1) + 3 + extra for length in SIZES[n]]
        with nnzoo_fast.backend("cpu" if _extension._C else None):
            found = ours(x, output_size=size)
        assert list(found.shape[2:]) == size
        torch.testing.assert_close(found, nnzoo_fast.restore(stock)(x, output_size=size))
        nnzoo_fast.accelerate(stock)
    with pytest.raises(ValueError, match="output size"):
        ours(x, output_size=[100] * n)


@pytest.mark.parametrize("n", SIZES)
def test_lazy_layers_become_ours(n):
    lazy = getattr(nn, f"LazyConvTranspose{n}d")(6, 3, stride=2)
    lazy(torch.randn(2, 4, *SIZES[n]))
    assert type(lazy) is getattr(nn, f"ConvTranspose{n}d") and lazy.weight.shape == (4, 6, *[3] * n)


def test_float32_goes_where_it_was_measured_to_win(monkeypatch):
    def chosen(out, groups=1, layout=torch.contiguous_format):
        input = torch.zeros(4, 64, 16, 16).contiguous(memory_format=layout)
        settings = (2, 1, 0, groups)
        return nnzoo_fast.explain(conv_transpose, input, torch.zeros(64, out // groups, 4, 4), None, *settings).chosen

    ours = "cpu" if _extension._C is not None else "torch"
    wins_from = {"float32 some channels 2d forward": 2**20, "float32 dense 2d forward": None}
    monkeypatch.setattr(tables, "TABLE", tables.Table(tables.Cpu.here(), {"conv_transpose": wins_from}, "made up"))
    assert chosen(16) == chosen(64, groups=64) == ours
    assert chosen(64) == chosen(16, layout=torch.channels_last) == "torch"
    monkeypatch.setattr(tables, "TABLE", None)
    assert chosen(32) == "torch" and chosen(128, groups=64) == "torch" and chosen(192, groups=64) == "torch"


@pytest.mark.parametrize("size, padding", [((2, 3, 1, 4), 1), ((0, 3, 0, 4), 0), ((0, 3, 1, 1), 1)], ids=str)
@pytest.mark.parametrize("backend", ["torch", "reference", *(["cpu"] if _extension._C is not None else [])])
def test_an_output_without_elements(backend, size, padding):
    call = Call((torch.ones(size), torch.ones(3, 5, 2, 2), torch.ones(5)), {"padding": padding})
    call = call.map(lambda tensor: tensor.requires_grad_())
    (expected,), gradients = run_with_gradients(SPEC.stock, call)
    with nnzoo_fast.backend(backend):
        (found,), found_gradients = run_with_gradients(conv_transpose, call)
    assert found.shape == expected.shape and found.numel() == 0
    assert all(torch.equal(one, other) for one, other in zip(found_gradients, gradients, strict=True))
