"""What the matrix can't say of `dropout`: whose masks run when, that they repeat, and how often they drop."""

import math

import pytest
import torch
import torch.nn.functional as F
from built import needs_kernels

import nnzoo_fast
from nnzoo_fast import _extension, nn, operation, ops
from nnzoo_fast.ops.dropout import cpu
from nnzoo_fast.random import keep_mask, new_seed

SHAPE = (37, 131)


@pytest.fixture
def reached(monkeypatch):
    names = []
    monkeypatch.setattr(operation, "_recorder", lambda found, values, way: names.append(found.name))
    return names


def seeded(call, seed=11):
    torch.manual_seed(seed)
    return call()


@needs_kernels
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_mask_is_that_of_the_counters(p):
    kept = seeded(lambda: ops.dropout(torch.ones(SHAPE), p)) != 0
    seed = seeded(new_seed)
    assert torch.equal(kept, keep_mask(seed, SHAPE, p))
    assert not torch.equal(kept, keep_mask(seed + 1, SHAPE, p)), "another seed draws another mask"


@needs_kernels
def test_rate_and_mean():
    output = ops.dropout(torch.ones(400, 500), 0.3)
    assert abs((output == 0).double().mean().item() - 0.3) < 4 * (0.3 * 0.7 / 2e5) ** 0.5
    assert abs(output.double().mean().item() - 1) < 0.01
    assert output.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]


@needs_kernels
def test_no_number_of_threads_and_no_earlier_call_changes_a_mask(isa):
    x = torch.randn(257, 33)

    def call():
        return ops.dropout(x, 0.4, residual=x)

    threads, expected = torch.get_num_threads(), seeded(call)
    try:
        torch.set_num_threads(1)
        assert torch.equal(seeded(call), expected)
    finally:
        torch.set_num_threads(threads)
    for name in _extension._C.isas():
        isa(name)
        torch.testing.assert_close(seeded(call), expected)
    assert not torch.equal(seeded(call, seed=12), expected)


@pytest.mark.parametrize("shape", [(5, 7), SHAPE], ids=["small", "large"])
@pytest.mark.parametrize("layer", [nn.Dropout(0.4), nn.Dropout(0.4, inplace=True)], ids=["new", "in place"])
def test_a_seed_repeats_whatever_ran_before(shape, layer):
    """Which masks a call takes doesn't depend on what is remembered of calls like it."""
    first, again, third = (seeded(lambda: layer(torch.ones(shape))) for _ in range(3))
    assert torch.equal(first, again) and torch.equal(again, third)


@needs_kernels
def test_backward_makes_the_mask_of_forward():
    x, bias = torch.randn(SHAPE, requires_grad=True), torch.randn(SHAPE[1], requires_grad=True)
    residual = torch.randn(SHAPE, requires_grad=True)
    output = seeded(lambda: ops.dropout(x, 0.25, bias=bias, residual=residual, backend="cpu"))
    kept = (output - residual).detach().abs() > 1e-6
    g = torch.randn(SHAPE)
    grads = torch.autograd.grad(output, (x, bias, residual), g)
    torch.testing.assert_close(grads[0], g * kept / 0.75)
    torch.testing.assert_close(grads[1], (g * kept / 0.75).sum(0))
    assert torch.equal(grads[2], g)


def test_nothing_is_dropped_in_eval_and_at_0():
    x = torch.randn(SHAPE)
    assert nn.Dropout(0.5).eval()(x) is x or torch.equal(nn.Dropout(0.5).eval()(x), x)
    assert torch.equal(ops.dropout(x, 0.0), x)
    bias = torch.randn(SHAPE[1])
    assert torch.equal(ops.dropout(x, 0.5, False, bias=bias, residual=x), x + bias + x)


def test_everything_is_dropped_at_1():
    x = torch.randn(SHAPE, requires_grad=True)
    assert not ops.dropout(x, 1.0).any()
    assert not torch.autograd.grad(ops.dropout(x, 1.0).sum(), x)[0].any()


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda x: ops.dropout(x[:4, :4].contiguous(), 0.5), id="small"),
        pytest.param(lambda x: ops.dropout(x.t(), 0.5), id="transposed"),
        pytest.param(lambda x: ops.dropout(x.half(), 0.5), id="float16"),
        pytest.param(lambda x: ops.dropout(x, 0.5, backend="torch"), id="asked for"),
    ],
)
def test_other_calls_draw_torchs_masks(call, monkeypatch):
    x = torch.randn(64, 64)
    expected = seeded(lambda: call(x))
    monkeypatch.setattr(ops.dropout.__globals__["operation"], "choose", lambda *args: None)
    assert torch.equal(seeded(lambda: call(x)), expected)


def test_a_transform_draws_torchs_masks(reached):
    x = torch.ones(8, 64, 64)
    masks = torch.func.vmap(lambda x: ops.dropout(x, 0.5), randomness="different")(x)
    assert not torch.equal(masks[0], masks[1])
    assert reached == []


@needs_kernels
def test_layer_and_function_run_on_the_operation(reached):
    x = torch.randn(64, 64)
    nn.Dropout(0.5)(x)
    nn.functional.dropout(x, 0.5)
    nnzoo_fast.accelerate(torch.nn.Sequential(torch.nn.Dropout(0.2)))(x)
    assert reached == ["dropout"] * 3
    nn.Dropout(0.5).eval()(x)
    nn.functional.dropout(x, 0.5, inplace=True)
    assert reached == ["dropout"] * 3


def test_a_compiled_call_draws_masks_and_trains():
    torch._dynamo.reset()
    x = torch.ones(64, 64, requires_grad=True)
    compiled = torch.compile(nn.Dropout(0.5), fullgraph=True, backend="aot_eager")
    output = compiled(x)
    assert 0.4 < (output == 0).float().mean().item() < 0.6
    assert torch.equal(torch.autograd.grad(output.sum(), x)[0], output.detach())


def test_a_dropped_infinity_is_not_a_number():
    """As in torch, which multiplies by 0."""
    x = torch.full(SHAPE, torch.inf)
    output = ops.dropout(x, 0.5)
    assert output.isnan().any() and output.isinf().any()
    assert F.dropout(x, 0.5).isnan().any()


@needs_kernels
def test_it_pays_from_some_size():
    def pays(*shape):
        return cpu.pays(torch.empty(shape), 0.5, None, None, None)[0]

    assert pays(4096, 3072) and not pays(8, 8)


@pytest.mark.parametrize("p", [math.nan, -0.5, 1.5])
def test_what_is_no_probability_raises_as_in_torch(p):
    found = []
    for dropout in (F.dropout, ops.dropout):
        with pytest.raises((RuntimeError, ValueError), match="between 0 and 1") as raised:
            dropout(torch.ones(3), p)
        found.append(raised.type)
    assert found[0] is found[1]
