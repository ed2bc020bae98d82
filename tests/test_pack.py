"""`pack`: a copy of the weights that inference may use, and what takes it away."""

import copy
import io
import pickle

import pytest
import torch
from torch.nn.utils import parametrizations

import nnzoo_fast
from nnzoo_fast import _extension, accelerate, nn, pack, report, restore, unpack
from nnzoo_fast.ops.linear.packed import SMALLEST
from nnzoo_fast.spec import Error, allowed_error

pytestmark = pytest.mark.skipif(
    not hasattr(_extension._C, "linear_forward_packed"), reason="the C++ kernels are not part of this installation"
)
DTYPES = [torch.float32, torch.bfloat16, torch.float64]
IN, OUT = 301, 251
assert IN * OUT >= SMALLEST


@pytest.fixture
def packed_calls(monkeypatch):
    """How often the packed kernel ran."""
    calls, kernel = [], _extension._C.linear_forward_packed

    def counted(*args):
        calls.append(args)
        kernel(*args)

    monkeypatch.setattr(_extension._C, "linear_forward_packed", counted)
    return calls


def model(dtype=torch.float32, bias=True):
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(IN, OUT, bias), torch.nn.ReLU(), torch.nn.Linear(OUT, IN, bias))
    return accelerate(layers).to(dtype).eval()


def batch(*shape, dtype=torch.float32):
    return torch.randn(*shape, IN, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


@torch.no_grad()
def run(layers, x=None):
    return layers(batch(5, dtype=next(layers.parameters()).dtype) if x is None else x)


def is_packed(layers):
    return ["_packed" in vars(layer) for layer in layers if isinstance(layer, torch.nn.Linear)]


WRITES = {
    "fused AdamW": lambda weight: adamw(weight),
    "data.copy_": lambda weight: weight.data.copy_(torch.ones_like(weight)),
    "numpy": lambda weight: weight.detach().numpy().fill(0.5),
    "view": lambda weight: weight.detach()[3:7].view(-1).fill_(4.0),
    "no_grad": lambda weight: zero(weight),
    "data =": lambda weight: setattr(weight, "data", torch.ones_like(weight)),
}


def adamw(weight):
    weight.grad = torch.ones_like(weight)
    torch.optim.AdamW([weight], lr=0.1, fused=True).step()


@torch.no_grad()
def zero(weight):
    weight.zero_()


def rival(layers):
    """Stock torch on the weights as they are now."""
    return run(restore(copy.deepcopy(layers)))


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_layer_that_is_not_packed_sees_every_write(write):
    layers = model(torch.float64)
    before = run(layers)
    write(layers[0].weight)
    torch.testing.assert_close(run(layers), rival(layers))
    assert not torch.allclose(run(layers), before)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_packed_layer_ignores_writes_until_it_is_unpacked_or_packed_again(write, packed_calls):
    layers = pack(model(torch.float64))
    before = run(layers)
    write(layers[0].weight)
    assert torch.equal(run(layers), before)
    assert len(packed_calls) == 4
    torch.testing.assert_close(run(pack(layers)), rival(layers))
    assert len(packed_calls) == 6
    torch.testing.assert_close(run(unpack(layers)), rival(layers))
    assert len(packed_calls) == 6


UNDOES = {
    "train": lambda layers: layers.train(),
    "load_state_dict": lambda layers: layers.load_state_dict(layers.state_dict()),
    "assign": lambda layers: layers.load_state_dict(layers.state_dict(), assign=True),
    "to": lambda layers: layers.to(torch.float64),
    "bfloat16": lambda layers: layers.bfloat16(),
    "share_memory": lambda layers: layers.share_memory(),
    "restore": restore,
    "unpack": unpack,
    "layer by layer": lambda layers: [layer.train() for layer in layers],
}


@pytest.mark.parametrize("undo", UNDOES.values(), ids=UNDOES.keys())
def test_what_takes_the_copy_away(undo):
    layers = pack(model())
    assert is_packed(layers) == [True, True]
    undo(layers)
    assert is_packed(layers) == [False, False]
    assert {type(layer) for layer in layers} <= {nn.Linear, torch.nn.Linear, torch.nn.ReLU}
    zero(layers[0].weight)
    torch.testing.assert_close(run(layers), rival(layers))


def test_eval_keeps_the_copy():
    assert is_packed(pack(model()).eval()) == [True, True]


def saved(layers):
    buffer = io.BytesIO()
    torch.save(layers, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x)), "save": saved}


@pytest.mark.parametrize("duplicate", [*COPIES.values(), copy.copy], ids=[*COPIES, "copy"])
def test_copies_leave_the_packed_weights_behind(duplicate):
    layers = pack(model())
    twin = duplicate(layers[0])
    assert type(twin) is nn.Linear and "_packed" not in vars(twin)
    assert is_packed(layers) == [True, True]
    zero(twin.weight)
    torch.testing.assert_close(run(twin), twin.bias.expand(5, OUT))


def test_a_pickle_does_not_grow():
    assert len(pickle.dumps(pack(model()))) <= len(pickle.dumps(model())) + 100


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "nobias"])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (0,), (2, 3), (40,), (129,)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", _extension._C.isas() if _extension._C else [])
def test_equals_the_oracle(name, dtype, shape, bias, isa, packed_calls):
    isa(name)
    layer, x = model(dtype, bias)[0], batch(*shape, dtype=dtype)
    truth = run(copy.deepcopy(layer).double(), x.double())
    stock = run(restore(copy.deepcopy(layer)), x)
    found = run(pack(layer), x)
    assert len(packed_calls) == 1
    error, allowed = Error.of(found, truth), allowed_error(Error.of(stock, truth), dtype, IN)
    assert error.within(allowed), f"{error}, allowed {allowed}"


def test_strides_of_the_input():
    layer = pack(model())[0]
    for x in (batch(8)[::2], batch(IN).t(), batch(1).expand(4, IN), torch.empty(3, 2 * IN).normal_()[:, ::2]):
        torch.testing.assert_close(run(layer, x), rival_of(layer, x))


def rival_of(layer, x):
    return run(restore(copy.deepcopy(layer)), x)


def test_the_bias_is_read_in_every_call():
    layer = pack(model())[0]
    zero(layer.bias)
    torch.testing.assert_close(run(layer), rival_of(layer, batch(5)))


def test_calls_with_gradients_use_the_weights_themselves(packed_calls):
    layer = pack(model())[0]
    layer.weight.data.fill_(0.25)
    x = batch(5).requires_grad_()
    layer(x).sum().backward()
    assert packed_calls == []
    torch.testing.assert_close(x.grad, torch.full_like(x, 0.25 * OUT))


def test_weights_that_functional_call_gives(packed_calls):
    layers = pack(model())
    weights = {name: torch.zeros_like(value) for name, value in layers.named_parameters()}
    with torch.no_grad():
        assert torch.func.functional_call(layers, weights, batch(5)).count_nonzero() == 0
    assert packed_calls == []


def test_a_new_parameter_is_used(packed_calls):
    layer = pack(model())[0]
    layer.weight = torch.nn.Parameter(torch.zeros(OUT, IN))
    torch.testing.assert_close(run(layer), layer.bias.expand(5, OUT))
    assert packed_calls == []


@pytest.mark.parametrize("first", ["pack", "parametrize"])
def test_parametrized_layers_use_their_weights(first, packed_calls):
    layer = model()[0]
    if first == "pack":
        parametrizations.weight_norm(pack(layer))
    else:
        pack(parametrizations.weight_norm(layer))
    zero(layer.parametrizations.weight.original0)
    torch.testing.assert_close(run(layer), layer.bias.expand(5, OUT))
    assert packed_calls == []
    torch.testing.assert_close(run(restore(layer)), layer.bias.expand(5, OUT))
    assert not isinstance(layer, nn.Linear)


def test_an_instruction_set_of_another_layout_is_noticed(isa, packed_calls):
    names = _extension._C.isas()
    layer = pack(model())[0]
    for name in names:
        isa(name)
        torch.testing.assert_close(run(layer), rival_of(layer, batch(5)))
    assert len(packed_calls) == 1


def test_autocast_compile_and_requests_do_not_use_the_copy(packed_calls):
    layers = pack(model())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert run(layers).dtype == torch.bfloat16
    compiled = torch.compile(layers, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(run(compiled), rival(layers))
    with nnzoo_fast.backend("reference"):
        run(layers)
    assert packed_calls == []
    run(layers)
    assert len(packed_calls) == 2


@pytest.mark.parametrize(
    "x", [torch.zeros(3, IN + 1), torch.zeros(3, IN, dtype=torch.float64), torch.zeros(())], ids=["size", "dtype", "0d"]
)
def test_wrong_calls_raise_as_before(x):
    with pytest.raises(RuntimeError) as plain:
        run(model()[0], x)
    with pytest.raises(RuntimeError) as packed:
        run(pack(model())[0], x)
    assert str(packed.value) == str(plain.value)


def test_training_mode_is_refused_and_nothing_is_packed():
    layers = model()
    layers[2].train()
    with pytest.raises(RuntimeError, match="pack: layer 2 is in training mode"):
        pack(layers)
    assert is_packed(layers) == [False, False]


@pytest.mark.parametrize("function", [pack, unpack])
def test_only_modules_are_taken(function):
    with pytest.raises(TypeError, match="model must be a torch.nn.Module, got list"):
        function([])


def test_stock_layers_and_small_ones_stay():
    layers = torch.nn.Sequential(torch.nn.Linear(IN, OUT), nn.Linear(8, 8)).eval()
    assert is_packed(pack(layers)) == [False, False]


def test_report_names_packed_layers():
    layers = pack(model())
    with torch.no_grad():
        found = report(layers, batch(5)).layers[0]
    assert (found.kind, found.runs_on) == ("Linear", "cpu") and "the copy of its weights" in found.reason
    assert "the copy of its weights" not in report(layers, batch(5)).layers[0].reason
