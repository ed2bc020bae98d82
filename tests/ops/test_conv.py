"""What the matrix can't say of `conv`: random geometry, the ladder's lower rung, threads, fx and padding by name."""

import random

import matrix
import pytest
import torch
import torch.nn.functional as F
from built import ISAS, needs_kernels

import nnzoo_fast
from nnzoo_fast import _extension, tables
from nnzoo_fast.ops import conv
from nnzoo_fast.ops.conv.reference import reference
from nnzoo_fast.ops.conv.spec import SPEC, im2col
from nnzoo_fast.spec import Call, Error, Maker, run_with_gradients


def random_call(choice: random.Random) -> Call:
    """Any dimension, kernel, stride, padding, dilation and grouping; float64, so that the bound is tight."""
    n = choice.choice((1, 2, 2, 3))
    kernel = [choice.choice((1, 2, 3, 5)) for _ in range(n)]
    options = {
        "stride": tuple(choice.choice((1, 1, 2, 3)) for _ in range(n)),
        "padding": tuple(choice.choice((0, 1, 2)) for _ in range(n)),
        "dilation": tuple(choice.choice((1, 1, 2, 3)) for _ in range(n)),
        "groups": choice.choice((1, 1, 2, 3)),
    }
    per_group, out_per_group = choice.choice((1, 2, 5)), choice.choice((1, 3, 9))
    spans = [gap * (size - 1) + 1 for size, gap in zip(kernel, options["dilation"], strict=True)]
    size = [span + choice.choice((0, 1, 4, 13 if n < 3 else 3)) for span in spans]
    groups = options["groups"]
    input = torch.randn(choice.choice((1, 2, 3)), per_group * groups, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(out_per_group * groups, per_group, *kernel, dtype=torch.float64, requires_grad=True)
    return Call((input, weight, torch.randn(weight.shape[0], dtype=torch.float64, requires_grad=True)), options)


@needs_kernels
@pytest.mark.parametrize("name", ISAS)
def test_random_geometry(name, isa, poisoned_memory):
    isa(name)
    choice = random.Random(name)
    for _ in range(60):
        call = random_call(choice)
        expected = run_with_gradients(SPEC.stock, call)
        with nnzoo_fast.backend("cpu"):
            found = run_with_gradients(conv, call)
        for one, other in zip(sum(found, []), sum(expected, []), strict=True):
            error = Error.of(one, other)
            assert max(error.frobenius, error.largest) < 1e-12, call.kwargs


@pytest.mark.parametrize("target", matrix.targets(), ids=str)
def test_relu_passes_the_gradient_where_it_gave_nan(target, isa):
    if target.isa:
        isa(target.isa)
    input, weight = torch.full((1, 1, 4), torch.nan, device=target.device), torch.ones(3, 1, 2, device=target.device)
    bias = torch.zeros(3, requires_grad=True, device=target.device)
    output = conv(input, weight, bias, activation="relu", backend=target.backend)
    assert torch.autograd.grad(output.sum(), bias)[0].tolist() == [3, 3, 3]


IMAGE = [[0.2, 0.1, 0.5, 0.8, 0.1], [0.4, 0.6, 0.2, 0.8, 0.5], [0.2, 0.4, 0.3, 0.9, 0.2], [0.5, 0.8, 0.1, 0.2, 0.7]]
EDGES = [[1 / 9] * 3, [0.0] * 3, [-1 / 9] * 3]
EDGES_FOUND = [[-0.01, -0.02, 0.0], [-0.02, 0.06, 0.06], [-0.17, -0.06, -0.06]]
SHAPE = [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]
CROSS = [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
CROSSES_FOUND = [[4, 3, 4], [2, 4, 3], [2, 3, 4]]
WORKED = [([*IMAGE, [0.8, 0.7, 0.9, 0.5, 0.5]], EDGES, EDGES_FOUND), (SHAPE, CROSS, CROSSES_FOUND)]


@pytest.mark.parametrize("target", [*matrix.targets(), matrix.Target("reference"), matrix.Target("torch")], ids=str)
@pytest.mark.parametrize("image, filter, expected", WORKED, ids=["edges", "crosses"])
def test_examples_worked_by_hand(image, filter, expected, target, isa):
    if target.isa:
        isa(target.isa)
    image, filter = (torch.tensor(values, device=target.device).float()[None, None] for values in (image, filter))
    found = conv(image, filter, backend=target.backend)
    assert torch.equal(
        found.mul(100).round(), torch.tensor(expected, device=target.device).mul(100).round()[None, None]
    )


@needs_kernels
def test_im2col_equals_implicit_gemm():
    for sample in SPEC.samples:
        call = sample.make(Maker(torch.float64, grad=False))
        if call.args[0].dim() == call.args[1].dim():
            error = Error.of(call.run(im2col), call.run(SPEC.stock))
            assert max(error.frobenius, error.largest) < 1e-13, sample.id


@needs_kernels
def test_threads_change_no_bit():
    before = torch.get_num_threads()
    call = Call((torch.randn(3, 20, 17, 19, requires_grad=True), torch.randn(30, 20, 3, 3, requires_grad=True)), {})
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with nnzoo_fast.backend("cpu"):
                results.append(sum(run_with_gradients(conv, call), []))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(result, results[0], strict=True))


@pytest.mark.parametrize("padding", (1, "same", "valid"))
def test_fx_records_stock_operators(padding):
    class Layer(torch.nn.Module):
        def forward(self, x, weight):
            return conv(x, weight, padding=padding)

    x, weight = torch.randn(2, 3, 8, 9), torch.randn(4, 3, 3, 3)
    traced = torch.fx.symbolic_trace(Layer())
    torch.testing.assert_close(traced(x, weight), F.conv2d(x, weight, padding=padding))


def test_channels_last_stays():
    x = torch.randn(2, 8, 9, 10).contiguous(memory_format=torch.channels_last)
    out = conv(x, torch.randn(6, 8, 3, 3), backend="cpu" if _extension._C else None)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_reference_is_not_torchs_convolution():
    with torch.profiler.profile() as profile:
        reference(torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3), None, [1, 1], [0, 0, 0, 0], [1, 1], 1)
    assert not any("conv" in event.key for event in profile.key_averages())


def test_float32_goes_where_it_was_measured_to_win(monkeypatch):
    def chosen(channels, out, kernel, groups=1, layout=torch.contiguous_format, size=64):
        input = torch.zeros(4, channels, size, size).contiguous(memory_format=layout)
        weight = torch.zeros(out, channels // groups, kernel, kernel)
        return nnzoo_fast.explain(conv, input, weight, None, 1, kernel // 2, 1, groups).chosen

    wins_from = {
        "float32 1x1 widening 2d forward": 2**25,
        "float32 small groups 2d forward": 0,
        "float32 dense 2d forward": None,
    }
    monkeypatch.setattr(tables, "TABLE", tables.Table(tables.Cpu.here(), {"conv": wins_from}, "made up"))
    assert chosen(64, 64, 1) == chosen(64, 64, 3, groups=64) == chosen(64, 64, 3, groups=16) == "cpu"
    assert chosen(64, 64, 1, layout=torch.channels_last) == chosen(64, 64, 3) == chosen(64, 64, 1, size=8) == "torch"
    assert chosen(64, 64, 1) == "cpu", "a call that was declined channels-last is not remembered for other layouts"
    monkeypatch.setattr(tables, "TABLE", None)
    volume, weight = torch.zeros(1, 16, 4, 16, 16), torch.zeros(8, 16, 3, 3, 3)
    assert nnzoo_fast.explain(conv, volume, weight).chosen == "cpu", "stock torch doesn't ask oneDNN for one volume"
    assert nnzoo_fast.explain(conv, volume.repeat(2, 1, 1, 1, 1), weight).chosen == "torch"
    assert chosen(64, 64, 1, size=63) == "torch"
    assert chosen(64, 64, 3, groups=64, size=63) == "cpu", "bound by memory on any CPU"
