"""`pack`: a copy of the weights that inference may use, and what takes it away."""

import copy
import io
import pickle

import pytest
import torch
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.fusion import fuse_linear_bn_eval
from torch.optim.swa_utils import AveragedModel

import nnzoo_fast
from nnzoo_fast import _extension, accelerate, nn, pack, report, restore, unpack
from nnzoo_fast.ops.linear import packed
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


UNCOUNTED = {
    "fused AdamW": lambda weight: step(weight, "AdamW", fused=True),
    "fused SGD": lambda weight: step(weight, "SGD", fused=True),
    "data.copy_": lambda weight: weight.data.copy_(torch.ones_like(weight)),
    "data view": lambda weight: weight.data[3:7].view(-1).fill_(4.0),
    "numpy": lambda weight: weight.detach().numpy().fill(0.5),
    "dlpack": lambda weight: torch.from_dlpack(weight.data).fill_(0.5),
}
COUNTED = {
    "AdamW": lambda weight: step(weight, "AdamW"),
    "AdamW one by one": lambda weight: step(weight, "AdamW", foreach=False),
    "AdamW foreach": lambda weight: step(weight, "AdamW", foreach=True),
    "SGD": lambda weight: step(weight, "SGD", foreach=False),
    "SGD foreach": lambda weight: step(weight, "SGD", foreach=True, momentum=0.5),
    "no_grad": lambda weight: zero(weight),
    "inference mode": lambda weight: zero_in_inference_mode(weight),
    "view": lambda weight: weight.detach()[3:7].view(-1).fill_(4.0),
    "alias": lambda weight: weight.detach().t().mul_(2.0),
    "index": lambda weight: weight.detach().__setitem__((slice(None), 3), 7.0),
    "out=": lambda weight: torch.add(weight.detach(), 1.0, out=weight.detach()),
    "initialised": torch.nn.init.zeros_,
    "clipped": lambda weight: weight.detach().clamp_(-0.01, 0.01),
    "data =": lambda weight: setattr(weight, "data", torch.ones_like(weight)),
    "vector": lambda weight: torch.nn.utils.vector_to_parameters(torch.ones(weight.numel(), dtype=DOUBLE), [weight]),
    "swap_tensors": lambda weight: swap(weight),
    "EMA": lambda weight: average(weight),
}
DOUBLE = torch.float64
WRITES = {**UNCOUNTED, **COUNTED}


def step(weight, optimizer, **options):
    weight.grad = torch.ones_like(weight)
    getattr(torch.optim, optimizer)([weight], lr=0.1, **options).step()


def swap(weight):
    torch.utils.swap_tensors(weight, torch.nn.Parameter(torch.ones_like(weight)))


def zero_in_inference_mode(weight):
    with torch.inference_mode():
        weight.zero_()


@torch.no_grad()
def average(weight):
    torch.optim.swa_utils.get_ema_multi_avg_fn(0.5)([weight], [torch.ones_like(weight)], None)


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


@pytest.mark.parametrize("write", COUNTED.values(), ids=COUNTED.keys())
def test_a_packed_layer_sees_writes_that_torch_counts(write, packed_calls):
    layers = pack(model(torch.float64))
    before = run(layers)
    write(layers[0].weight)
    torch.testing.assert_close(run(layers), rival(layers))
    assert not torch.allclose(run(layers), before)
    assert len(packed_calls) == 4, "the other layer still uses its copy"
    torch.testing.assert_close(run(pack(layers)), rival(layers))
    assert len(packed_calls) == 6


def test_the_tests_of_counted_writes_notice_a_copy_without_a_stamp(monkeypatch):
    """Negative control."""
    monkeypatch.setattr(packed, "stamp", lambda weight: None)
    layers = pack(model(torch.float64))
    before = run(layers)
    zero(layers[0].weight)
    assert torch.equal(run(layers), before)


@pytest.mark.parametrize("write", UNCOUNTED.values(), ids=UNCOUNTED.keys())
def test_a_packed_layer_ignores_other_writes_until_it_is_unpacked_or_packed_again(write, packed_calls):
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
    "half and back": lambda layers: layers.half().float(),
    "to a dtype and back": lambda layers: layers.to(torch.float64).to(torch.float32),
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
    assert {type(layer) for layer in layers} <= {nn.Linear, torch.nn.Linear, nn.ReLU, torch.nn.ReLU}
    zero(layers[0].weight)
    torch.testing.assert_close(run(layers), rival(layers))


REPLACEMENTS = {
    "weight_norm": lambda layer: torch.nn.utils.weight_norm(layer),
    "weight_norm and back": lambda layer: torch.nn.utils.remove_weight_norm(torch.nn.utils.weight_norm(layer)),
    "spectral_norm": lambda layer: torch.nn.utils.spectral_norm(layer),
    "parametrized spectral_norm": lambda layer: parametrizations.spectral_norm(layer),
    "orthogonal": lambda layer: parametrizations.orthogonal(layer),
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5),
    "pruned for good": lambda layer: prune.remove(prune.random_structured(layer, "weight", amount=2, dim=0), "weight"),
    "fused batch norm": lambda layer: setattr(layer, "weight", fused_with_norm(layer).weight),
    "share_memory_": lambda layer: (layer.weight.share_memory_(), layer.weight.data.add_(1.0)),
    "deleted and registered": lambda layer: registered_anew(layer),
}


def fused_with_norm(layer):
    norm = torch.nn.BatchNorm1d(OUT).eval()
    torch.nn.init.uniform_(norm.weight)
    return fuse_linear_bn_eval(layer, norm)


def registered_anew(layer):
    del layer.weight
    layer.register_parameter("weight", torch.nn.Parameter(torch.ones(OUT, IN)))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("replace", REPLACEMENTS.values(), ids=REPLACEMENTS.keys())
def test_what_puts_something_else_in_the_place_of_the_weight(replace):
    layers = pack(model())
    before = run(layers[0])
    replace(layers[0])
    after = run(layers[0])
    weight, bias = layers[0].weight, layers[0].bias  # a hook may have made the weight in the call
    torch.testing.assert_close(after, torch.nn.functional.linear(batch(5), weight, bias).detach())
    assert not torch.allclose(after, before)


def test_an_averaged_model_leaves_the_copies_of_its_source_behind(packed_calls):
    source = pack(model())
    averaged = AveragedModel(source)
    zero(source[0].weight)
    averaged.update_parameters(source)
    averaged.update_parameters(source)
    torch.testing.assert_close(run(averaged), rival(averaged.module))
    pack(averaged.eval())
    averaged.update_parameters(source)
    torch.testing.assert_close(run(averaged), rival(averaged.module))


def test_weights_made_in_inference_mode_can_be_packed(packed_calls):
    with torch.inference_mode():
        layers = pack(model())
        expected = rival(layers)
        torch.testing.assert_close(run(layers), expected)
    assert len(packed_calls) == 2


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
