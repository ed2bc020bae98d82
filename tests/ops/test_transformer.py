"""What PyTorch's samples of the transformers don't reach: fusion, hints, hooks, nested tensors, tracing."""

import copy

import pytest
import torch
import torch.nn.functional as F

import nnzoo_fast
from nnzoo_fast import accelerate, nn, operation, pack
from nnzoo_fast.nn.activated import activation_name

SIZES = (8, 2, 12, 0.0)


@pytest.fixture
def activations(monkeypatch):
    """The activations of the linear calls, in order."""
    seen = []

    def record(found, values, way):
        if found.name == "linear":
            seen.append(values[3])

    monkeypatch.setattr(operation, "_recorder", record)
    return seen


def batch(*shape, seed=7):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pair(stock):
    return stock, accelerate(copy.deepcopy(stock))


def gelu_tanh():
    return torch.nn.GELU(approximate="tanh")


FUSED = {
    "relu": "relu",
    "gelu": "gelu",
    F.silu: "silu",
    torch.tanh: "tanh",
    torch.nn.Sigmoid: "sigmoid",
    gelu_tanh: "gelu_tanh",
}


@pytest.mark.parametrize("given, name", FUSED.items(), ids=FUSED.values())
@pytest.mark.parametrize("kind", [torch.nn.TransformerEncoderLayer, torch.nn.TransformerDecoderLayer])
def test_linear_and_activation_are_one_call(kind, given, name, activations):
    activation = given() if isinstance(given, type) or given is gelu_tanh else given
    stock = kind(*SIZES, activation=activation)
    ours = getattr(nn, kind.__name__)(*SIZES, activation=activation)  # torch's decoder forgets a layer when copied
    ours.load_state_dict(stock.state_dict())
    inputs = (batch(5, 3, 8), batch(4, 3, 8, seed=8))[: 2 if kind is torch.nn.TransformerDecoderLayer else 1]
    torch.testing.assert_close(ours(*inputs), stock(*inputs))
    assert name in activations


@pytest.mark.parametrize("activation", [F.leaky_relu, lambda x: x * x, torch.nn.ELU()], ids=["leaky", "lambda", "ELU"])
def test_other_activations_stay_calls(activation, activations):
    stock, ours = pair(torch.nn.TransformerEncoderLayer(*SIZES, activation=activation))
    torch.testing.assert_close(ours(batch(5, 3, 8)), stock(batch(5, 3, 8)))
    assert set(activations) == {"none"} and activation_name(activation) is None


@pytest.mark.parametrize("watched", ["linear1", "activation"])
@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"])
def test_hooks_are_called(watched, kind, activations):
    layer = nn.TransformerEncoderLayer(*SIZES, activation=torch.nn.ReLU())
    calls = []
    handle = getattr(getattr(layer, watched), kind)(lambda *_: calls.append(watched))
    layer(batch(5, 3, 8)).sum().backward()
    assert calls == [watched] and set(activations) == {"none"}
    handle.remove()
    layer(batch(5, 3, 8))
    assert "relu" in activations


def test_a_replaced_forward_is_called(activations):
    layer = nn.TransformerEncoderLayer(*SIZES)
    layer.linear1.forward = lambda x: x.new_zeros(*x.shape[:-1], 12)
    layer(batch(5, 3, 8))
    assert len(activations) == 3  # two of the attention, and linear2


def test_a_subclass_of_linear_keeps_its_code():
    class Doubled(nn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    layer = nn.TransformerEncoderLayer(*SIZES)
    plain = layer(batch(5, 3, 8))
    layer.linear1.__class__ = Doubled
    assert not torch.allclose(layer(batch(5, 3, 8)), plain)


def sequence():
    layers = (torch.nn.Linear(8, 12), torch.nn.ReLU(), torch.nn.Linear(12, 5), torch.nn.Linear(5, 6), torch.nn.Tanh())
    return torch.nn.Sequential(*layers, torch.nn.Tanh())


def test_a_sequential_joins_neighbours(activations):
    stock, ours = pair(sequence())
    x = batch(3, 8)
    torch.testing.assert_close(ours(x), stock(x))
    assert activations == ["relu", "none", "tanh"]
    activations.clear()
    assert type(ours[:2]) is nn.Sequential and torch.equal(ours[:2](x), ours[1](ours[0](x)))
    assert activations == ["relu", "none"]


@pytest.mark.parametrize("watched", [0, 1])
def test_a_sequential_calls_hooks(watched, activations):
    model = accelerate(sequence())
    calls = []
    model[watched].register_forward_hook(lambda *_: calls.append(watched))
    model(batch(3, 8))
    assert calls == [watched] and activations == ["none", "none", "tanh"]


def test_a_packed_sequential_uses_its_copies():
    stock, ours = pair(torch.nn.Sequential(torch.nn.Linear(256, 320), torch.nn.GELU()).eval())
    with torch.no_grad():
        torch.testing.assert_close(pack(ours)(batch(3, 256)), stock(batch(3, 256)))
        ours[0]._packed.memory.zero_()
        assert not torch.allclose(ours(batch(3, 256)), stock(batch(3, 256)))


def test_packed_weights_are_used_with_the_activation():
    stock, ours = pair(torch.nn.TransformerEncoderLayer(256, 2, 320, activation="gelu", batch_first=True).eval())
    pack(ours)
    assert type(ours.linear1) is not nn.Linear
    with torch.no_grad():
        torch.testing.assert_close(ours(batch(2, 5, 256)), stock(batch(2, 5, 256)))
        ours.linear1._packed.memory.zero_()
        assert not torch.allclose(ours(batch(2, 5, 256)), stock(batch(2, 5, 256)))


@pytest.mark.parametrize("hint", [None, True, False])
@pytest.mark.parametrize("training", [True, False])
def test_causal_hints(hint, training):
    layer = torch.nn.TransformerEncoderLayer(*SIZES, batch_first=True)
    stock, ours = pair(torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).train(training))
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5)
    with torch.set_grad_enabled(training):
        torch.testing.assert_close(ours(batch(3, 5, 8), mask, None, hint), stock(batch(3, 5, 8), mask, None, hint))


def padded_batch():
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:], padding[2, 1:] = True, True
    return batch(3, 5, 8), padding


def test_a_padded_batch_in_eval_is_zero_where_it_is_padded():
    layer = torch.nn.TransformerEncoderLayer(*SIZES, batch_first=True)
    stock, ours = pair(torch.nn.TransformerEncoder(layer, 2).eval())
    x, padding = padded_batch()
    with torch.no_grad():
        found = ours(x, src_key_padding_mask=padding)
        torch.testing.assert_close(found, stock(x, src_key_padding_mask=padding))
    assert (found[padding] == 0).all() and (found[~padding] != 0).any()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors():
    stock, ours = pair(torch.nn.TransformerEncoderLayer(*SIZES, batch_first=True).eval())
    nested = torch.nested.nested_tensor([batch(4, 8), batch(2, 8)])
    with torch.no_grad():
        for found, expected in zip(ours(nested).unbind(), stock(nested).unbind(), strict=True):
            torch.testing.assert_close(found, expected)


def test_masks_that_disagree_warn_as_in_torch():
    x, padding = padded_batch()
    for layer in pair(torch.nn.TransformerEncoderLayer(*SIZES, batch_first=True)):
        with pytest.warns(UserWarning, match="mismatched"):
            layer(x, torch.zeros(5, 5), padding)
        with pytest.raises(AssertionError, match="bool and floating"):
            layer(x, torch.zeros(5, 5, dtype=torch.int))


@pytest.mark.parametrize("backend, expected", [(None, []), ("torch", []), ("cpu", ["none", "relu", "none", "none"])])
def test_small_inference_stays_on_the_fused_kernel_unless_asked(backend, expected, activations):
    stock, ours = pair(torch.nn.TransformerEncoderLayer(*SIZES, batch_first=True).eval())
    with torch.no_grad(), nnzoo_fast.backend(backend):
        torch.testing.assert_close(ours(batch(3, 5, 8)), stock(batch(3, 5, 8)))
    assert sorted(activations) == sorted(expected)


def test_given_parts_stay_what_they_are():
    given = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(*SIZES), 1)
    model = nn.Transformer(8, 2, 1, 1, 12, custom_encoder=given)
    assert model.encoder is given and type(given.layers[0].linear1) is torch.nn.Linear
    assert type(model.decoder) is nn.TransformerDecoder and type(model.decoder.layers[0].linear1) is nn.Linear
    layer = torch.nn.TransformerEncoderLayer(*SIZES)
    assert type(nn.TransformerEncoder(layer, 1).layers[0]) is nn.TransformerEncoderLayer
    assert type(layer) is torch.nn.TransformerEncoderLayer


def test_symbolic_trace():
    model = nn.Transformer(8, 2, 1, 1, 12, 0.0, batch_first=True)
    inputs = batch(3, 5, 8), batch(3, 4, 8, seed=8)
    traced = torch.fx.symbolic_trace(model)
    torch.testing.assert_close(traced(*inputs), model(*inputs))


def test_dropout_is_drawn():
    layer = nn.TransformerEncoderLayer(8, 2, 12, 0.5)
    torch.manual_seed(0)
    first, second = layer(batch(5, 3, 8)), layer(batch(5, 3, 8))
    torch.manual_seed(0)
    assert torch.equal(layer(batch(5, 3, 8)), first) and not torch.equal(first, second)
