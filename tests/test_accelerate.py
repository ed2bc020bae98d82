"""`accelerate` and `restore` exchange classes in place and disturb nothing; `report` says what happened."""

import copy
import io
import pickle

import distributed
import layers
import pytest
import torch
from classifier import Classifier
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

import nnzoo_fast
from nnzoo_fast import accelerate, nn, operation, report, restore
from nnzoo_fast.nn.drop_in import DROP_INS
from nnzoo_fast.spec import outputs_of

EACH_LAYER = [pytest.param(example, id=example.stock.__name__) for example in layers.ONE_OF_EACH]


def batch(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


@pytest.fixture
def reached(monkeypatch):
    names = []
    monkeypatch.setattr(operation, "_recorder", lambda found, values, way: names.append(found.name))
    return names


@pytest.mark.parametrize("example", EACH_LAYER)
def test_a_bare_layer_there_and_back(example):
    layer = example.build_stock()
    state, names = {**vars(layer)}, set(vars(layer))
    args, kwargs = example.inputs()
    expected = layer(*args, **kwargs)
    assert accelerate(layer) is layer
    assert type(layer) is DROP_INS[type(example.build_stock())]
    problems = layers.deviations(example, layer, torch.float32)
    assert not problems, "\n".join(problems)
    assert restore(layer) is layer
    assert type(layer) is type(example.build_stock())
    assert set(vars(layer)) == names
    assert all(vars(layer)[name] is state[name] for name in names - {"training"})
    for value, theirs in zip(outputs_of(layer(*args, **kwargs)), outputs_of(expected), strict=True):
        assert torch.equal(value, theirs)


@pytest.mark.parametrize("example", EACH_LAYER)
def test_a_drop_in_that_was_built_as_one_restores(example):
    layer = restore(example.build_ours())
    assert type(layer) is type(example.build_stock())
    assert not layers.deviations(example, layer, torch.float32)
    twin = pickle.loads(pickle.dumps(layer))
    assert type(twin) is type(layer)
    assert "nnzoo_fast" not in str(type(twin))


@pytest.mark.parametrize("example", EACH_LAYER)
def test_after_a_move_and_a_copy_the_restored_layer_is_sound(example):
    layer = copy.deepcopy(accelerate(example.build_stock())).double()
    layer = restore(pickle.loads(pickle.dumps(layer)))
    assert not layers.deviations(example, layer, torch.float64)


def test_everything_stays_but_the_class():
    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    calls = []
    model.first.register_forward_hook(lambda *_: calls.append("hook"))
    model.register_forward_pre_hook(lambda *_: calls.append("pre"))
    model.last.register_full_backward_hook(lambda *_: calls.append("backward"))
    model.eval()
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    modules, state = dict(model.named_modules()), model.state_dict()
    accelerate(model)
    assert all(value is parameters[name] for name, value in model.named_parameters())
    assert all(value is buffers[name] for name, value in model.named_buffers())
    assert all(value is modules[name] for name, value in model.named_modules())
    assert list(model.state_dict()) == list(state)
    assert model.again.weight is model.last.weight
    assert not model.training and not model.first.training
    before = parameters["last.weight"].clone()
    model(batch(3, 6)).sum().backward()
    optimizer.step()
    assert calls == ["pre", "hook", "backward"]
    assert not torch.equal(model.last.weight, before)


def test_only_exact_types_are_exchanged():
    model = accelerate(Classifier())
    assert type(model) is Classifier
    assert type(model.first) is nn.Linear and type(model.last) is nn.Linear
    assert type(model.doubled) is Classifier.Doubled
    assert type(model.norm) is nn.BatchNorm1d
    assert isinstance(model.first, torch.nn.Linear)


def test_twice_is_once(reached):
    model = Classifier().eval()
    expected = model(batch(3, 6))
    assert reached == []
    torch.testing.assert_close(accelerate(accelerate(model))(batch(3, 6)), expected)
    assert reached == ["linear", "batch_norm", "linear", "linear"]
    reached.clear()
    assert torch.equal(restore(restore(model))(batch(3, 6)), expected)
    assert reached == []


def flat_weights_are_the_parameters(lstm):
    names = lstm._flat_weights_names
    return all(flat is getattr(lstm, name) for flat, name in zip(lstm._flat_weights, names, strict=True))


CHANGES = {
    "new parameter": lambda lstm: setattr(lstm, "weight_hh_l0", torch.nn.Parameter(torch.ones(16, 4))),
    "to": lambda lstm: lstm.double().float(),
    "load_state_dict": lambda lstm: lstm.load_state_dict(torch.nn.LSTM(3, 4).state_dict(), assign=True),
    "functional_call": lambda lstm: torch.func.functional_call(lstm, torch.nn.LSTM(3, 4).state_dict(), batch(5, 2, 3)),
    "flatten_parameters": lambda lstm: lstm.flatten_parameters(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_happens_to_an_lstm_is_known_after_restore(change):
    x = batch(5, 2, 3)
    lstm = accelerate(torch.nn.LSTM(3, 4))
    assert type(lstm) is nn.LSTM and not isinstance(lstm, torch.nn.LSTM)
    change(lstm)
    expected, _ = lstm(x)
    assert flat_weights_are_the_parameters(restore(lstm))
    torch.testing.assert_close(lstm(x)[0], expected)
    lstm._flat_weights[0] = torch.nn.Parameter(torch.zeros(16, 3))
    assert not flat_weights_are_the_parameters(lstm)


def test_it_prints_nothing(capsys):
    restore(accelerate(Classifier()))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("function", [accelerate, restore, report])
def test_only_modules_are_taken(function):
    with pytest.raises(TypeError, match="model must be a torch.nn.Module, got Tensor"):
        function(torch.zeros(2))


def test_copies_keep_the_class_and_restore():
    model = accelerate(Classifier()).eval()
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(buffer, weights_only=False)):
        assert type(twin.first) is nn.Linear
        assert twin.again.weight is twin.last.weight
        assert torch.equal(twin(batch(3, 6)), model(batch(3, 6)))
        assert type(restore(twin).first) is torch.nn.Linear
    assert type(model.first) is nn.Linear


def test_a_state_dict_goes_between_stock_and_ours():
    stock, ours = Classifier(), accelerate(Classifier())
    assert str(ours.load_state_dict(stock.state_dict())) == "<All keys matched successfully>"
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), stock.parameters(), strict=True))
    stock.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("first", ["accelerate", "parametrize"])
def test_parametrized_layers(first, reached):
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 5)
    expected = parametrizations.weight_norm(copy.deepcopy(layer))(batch(3, 4))
    if first == "accelerate":
        parametrizations.weight_norm(accelerate(layer))
    else:
        accelerate(parametrizations.weight_norm(layer))
    assert isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight")
    torch.testing.assert_close(layer(batch(3, 4)), expected)
    assert reached == ["linear"]
    twin = copy.deepcopy(layer)
    torch.testing.assert_close(twin(batch(3, 4)), expected)
    layer(batch(3, 4)).sum().backward()
    assert all(p.grad is not None for p in layer.parametrizations.weight.parameters())
    assert not isinstance(restore(layer), nn.Linear)
    reached.clear()
    torch.testing.assert_close(layer(batch(3, 4)), expected)
    assert reached == []
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is torch.nn.Linear
    parametrize.remove_parametrizations(twin, "weight")
    assert type(twin) is nn.Linear


def test_functional_call_uses_the_given_weights():
    model = accelerate(Classifier()).eval()
    doubled = {name: 2 * value.detach() for name, value in model.named_parameters()}
    found = torch.func.functional_call(model, doubled, batch(3, 6))
    twin = restore(copy.deepcopy(model))
    for parameter in twin.parameters():
        parameter.data *= 2
    torch.testing.assert_close(found, twin(batch(3, 6)))
    assert not torch.allclose(found, model(batch(3, 6)))


def test_per_sample_gradients_by_transforms():
    model = accelerate(torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)))
    weights, x = dict(model.named_parameters()), batch(3, 4)

    def loss(weights, row):
        return torch.func.functional_call(model, weights, row).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    for row in range(3):
        expected = torch.autograd.grad(loss(weights, x[row]), list(weights.values()))
        for value, theirs in zip(found.values(), expected, strict=True):
            torch.testing.assert_close(value[row], theirs)


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing(reentrant):
    model = accelerate(torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.GELU(), torch.nn.Linear(5, 4)))
    x = batch(3, 4).requires_grad_()
    grads = []
    for run in (model, lambda x: checkpoint(model, x, use_reentrant=reentrant)):
        model.zero_grad()
        x.grad = None
        run(x).square().sum().backward()
        grads.append([x.grad, *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_compile_notices_the_exchange():
    torch._dynamo.reset()
    model = Classifier().eval()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    expected = compiled(batch(3, 6))
    accelerate(model)
    torch.testing.assert_close(compiled(batch(3, 6)), expected)
    accelerate(compiled)
    assert type(compiled._orig_mod.first) is nn.Linear
    torch.testing.assert_close(restore(compiled)(batch(3, 6)), expected)


def test_fx_traces_through_to_stock_operators():
    model = accelerate(Classifier()).eval()
    traced = torch.fx.symbolic_trace(model)
    torch.testing.assert_close(traced(batch(3, 6)), model(batch(3, 6)))
    called = {node.target for node in traced.graph.nodes if node.op == "call_function"}
    assert torch.nn.functional.linear in called
    restored = torch.fx.symbolic_trace(restore(model))
    assert any(node.op == "call_module" and node.target == "first" for node in restored.graph.nodes)


def test_jit_trace():
    model = accelerate(Classifier()).eval()
    traced = torch.jit.trace(model, batch(3, 6))
    torch.testing.assert_close(traced(batch(5, 6)), model(batch(5, 6)))


def test_two_processes_train_like_one():
    alone = torch.tensor(distributed.alone(Classifier))
    assert (alone.diff().abs() > 1e-3).all()
    for scenario, ranks in distributed.launch(Classifier, processes=2).items():
        for losses, reached in ranks:
            torch.testing.assert_close(torch.tensor(losses), alone, msg=scenario)
            every = ["linear", "batch_norm", "linear", "linear"] * distributed.STEPS
            assert reached == [(name, "eager") for name in every], scenario


def rows(model, *args):
    return {layer.name: layer for layer in report(model, *args).layers}


def test_report_without_an_input():
    model = Classifier()
    assert "accelerate(model)" in rows(model)["first"].reason
    found = rows(accelerate(model))
    assert found["first"].runs_on == "drop-in"
    assert "a subclass of torch.nn.Linear" in found["doubled"].reason
    assert found["doubled"].runs_on == "torch"
    assert "no drop-in for torch.nn.Unfold" in rows(torch.nn.Unfold(2))[""].reason
    assert set(found) == {"first", "norm", "doubled", "last", "again"}
    text = str(report(model))
    assert all(name in text for name in found)


def test_report_with_an_input_leaves_the_model_as_it_was():
    model = accelerate(Classifier()).train()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with nnzoo_fast.backend("reference"):
        found = rows(model, batch(3, 6))
    assert found["first"].runs_on == "reference" and found["first"].reason == "linear: asked for by name"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert model.norm.num_batches_tracked == 0
    assert operation._recorder is None


def test_report_of_a_replaced_forward():
    model = accelerate(Classifier())
    model.first.forward = lambda x: x @ x.new_ones(6, 8)
    assert "replaced" in rows(model)["first"].reason


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_report_of_the_transformer_fast_path(training):
    """Torch's layer leaves its own layers aside in eval mode, ours does not."""
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).train(training)
    assert "fast path calls none of its layers" in rows(layer)[""].reason
    accelerate(layer)
    with nnzoo_fast.backend("cpu"), torch.set_grad_enabled(training):
        found = rows(layer, batch(2, 3, 8))
    assert "asked for" in found["self_attn"].reason and "asked for" in found["linear1"].reason
    with torch.set_grad_enabled(training):
        found = rows(layer, batch(2, 3, 8))
    assert ("torch's fused kernel" in found[""].reason) is not training
