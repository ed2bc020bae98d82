"""What the matrix can't say of `activation`: memory formats, inputs that change later, streaming, and who joins it."""

import pytest
import torch
import torch.nn.functional as F
from built import needs_kernels

from nnzoo_fast import _extension, accelerate, nn, operation, ops
from nnzoo_fast.ops.activation import cpu
from nnzoo_fast.ops.activation.functions import FUNCTIONS


@pytest.fixture
def reached(monkeypatch):
    names = []
    monkeypatch.setattr(operation, "_recorder", lambda found, values, way: names.append(found.name))
    return names


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels-last": lambda x: x.to(memory_format=torch.channels_last),
    "permuted": lambda x: x.permute(3, 1, 0, 2),
    "strided": lambda x: x[:, ::2],
    "expanded": lambda x: x[:1].expand(2, -1, -1, -1),
}


@needs_kernels
@pytest.mark.parametrize("view", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("function", ["tanh", "gelu"])
def test_strides_are_those_of_stock_torch(function, view):
    x = view(torch.randn(2, 4, 5, 6)).requires_grad_()
    ours, stock = ops.activation(x, function, backend="cpu"), FUNCTIONS[function].stock(x)
    assert ours.stride() == stock.stride()
    g = torch.randn(x.shape)
    (grad,), (expected,) = (torch.autograd.grad(output, x, g) for output in (ours, stock))
    torch.testing.assert_close(grad, expected)


@needs_kernels
@pytest.mark.parametrize("function", [name for name, known in FUNCTIONS.items() if known.of_output])
def test_an_input_may_change_in_place_where_torch_lets_it(function):
    weight = torch.randn(40, 50, requires_grad=True)
    grads = []
    for call in (lambda x: ops.activation(x, function, backend="cpu"), FUNCTIONS[function].stock):
        x = weight * 1.0
        output = call(x)
        x.add_(1)
        grads += torch.autograd.grad(output.sum(), weight)
    torch.testing.assert_close(*grads)


@needs_kernels
@pytest.mark.parametrize("function", [name for name, known in FUNCTIONS.items() if not known.of_output])
def test_an_input_that_is_needed_must_not_change(function):
    x = torch.randn(40, 50, requires_grad=True) * 1.0
    output = ops.activation(x, function, backend="cpu")
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_outputs_that_stream_past_the_caches(dtype, isa):
    """32 MiB and a tail; a piece of it equals the same values on their own."""
    count = 2**25 // dtype.itemsize + 13
    x = torch.linspace(-3, 3, count).to(dtype)
    for name in _extension._C.isas():
        isa(name)
        output = ops.activation(x, "silu", backend="cpu")
        for piece in (slice(0, 100), slice(count // 2 - 3, count // 2 + 77), slice(count - 50, count)):
            torch.testing.assert_close(output[piece], ops.activation(x[piece], "silu", backend="cpu"), rtol=0, atol=0)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("function", ["elu", "hardswish"])
def test_zeros_keep_their_sign_and_nan_passes(function, dtype, isa):
    """A gradient is NaN where the input is: stock torch's depends on how many elements are left for its last vector."""
    values = torch.tensor([0.0, -0.0, torch.nan, torch.inf, -torch.inf, 3.0, -3.0, -1.0], dtype=dtype)
    for name in _extension._C.isas():
        isa(name)
        for gradient in (1.0, -0.0, torch.inf, torch.nan):
            x = values.repeat(5).requires_grad_()
            ours, stock = ops.activation(x, function, backend="cpu"), FUNCTIONS[function].stock(x)
            grads = [torch.autograd.grad(y, x, torch.full_like(y, gradient))[0] for y in (ours, stock)]
            assert grads[0][x.isnan()].isnan().all()
            for found, expected in ((ours, stock), [grad[~x.isnan()] for grad in grads]):
                torch.testing.assert_close(found, expected, equal_nan=True)
                zero = expected == 0
                assert torch.equal(found[zero].signbit(), expected[zero].signbit())


@needs_kernels
def test_gradients_where_results_saturate():
    """relu passes no gradient to 0 and -0, and an infinite one only where it passes any."""
    x = torch.tensor([-1.0, -0.0, 0.0, 2.0, torch.nan], requires_grad=True)
    g = torch.full((5,), torch.inf)
    for name in ("relu", "leaky_relu"):
        ours = torch.autograd.grad(ops.activation(x, name, backend="cpu"), x, g)[0]
        torch.testing.assert_close(ours, torch.autograd.grad(FUNCTIONS[name].stock(x), x, g)[0], equal_nan=True)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_gradients_of_large_values(dtype):
    """What is left of a derivative's vanishing part must not grow with the value."""
    x = torch.tensor([19.0, 21.0, 1e4, 1e10, 1e20, 1e30], dtype=dtype, requires_grad=True)
    (grad,) = torch.autograd.grad(ops.activation(x, "mish", backend="cpu").sum(), x)
    torch.testing.assert_close(grad, torch.ones_like(x))


def test_in_place_layers_work_in_place(reached):
    for layer in (nn.ReLU(True), nn.SiLU(True), nn.ELU(inplace=True), nn.LeakyReLU(0.2, True), nn.Mish(True)):
        x = torch.randn(3, 4)
        assert layer(x) is x
    assert reached == []


@pytest.mark.parametrize("name", ["ReLU", "GELU", "SiLU", "Tanh", "Sigmoid"])
@pytest.mark.parametrize("whose", ["ours", "torch's"])
def test_sequential_joins_them_to_the_layer_before(name, whose, reached):
    layer = getattr(nn if whose == "ours" else torch.nn, name)()
    model = nn.Sequential(nn.Linear(5, 7), layer)
    model(torch.randn(3, 5))
    assert reached == ["linear"]
    model[1].register_forward_hook(lambda *_: None)
    reached.clear()
    model(torch.randn(3, 5))
    assert reached == ["linear"] + ["activation"] * (whose == "ours")


def test_accelerated_models_keep_joining(reached):
    model = accelerate(torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.GELU("tanh"), torch.nn.Linear(7, 2)))
    assert type(model[1]) is nn.GELU
    model(torch.randn(3, 5))
    assert reached == ["linear", "linear"]


def test_other_dtypes_are_torchs():
    for x in (torch.arange(4), torch.randn(3).half(), torch.randn(3, dtype=torch.complex64)):
        assert torch.equal(nn.functional.tanh(x), torch.tanh(x))
    with pytest.raises(RuntimeError, match="approximate"):
        nn.functional.gelu(torch.randn(3), approximate="erf")
    assert F.gelu is not nn.functional.gelu


def test_small_calls_are_torchs():
    assert not cpu.pays(torch.empty(8), "tanh", [])[0]
    assert cpu.pays(torch.empty(4096, 768), "tanh", [])[0]


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "gelu"])
@pytest.mark.parametrize("input", [None, [1.0]])
def test_what_is_no_tensor_raises_as_in_torch(name, input):
    found = []
    for module in (F, nn.functional):
        with pytest.raises((TypeError, AttributeError)) as raised:
            getattr(module, name)(input)
        found.append(raised.type)
    assert found[0] is found[1]
