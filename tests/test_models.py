"""The models: against independent implementations with the same weights, against stock torch, and able to learn."""

import copy

import peers
import pytest
import torch

import nnzoo_fast
from nnzoo_fast import Graph, models, restore
from nnzoo_fast.nn.drop_in import DROP_INS
from nnzoo_fast.nn.packed import PACKED
from nnzoo_fast.spec import Error, allowed_error, outputs_of

OURS = (*DROP_INS.values(), *PACKED.values())


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def integers(high, *shape):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(1))


def graph_input():
    return normal(30, 12), integers(30, 2, 90)


BERT = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, dropout=0.0)
CASES = {
    "MLP": (lambda: models.MLP((20, 33, 17, 5)), lambda: (normal(7, 4, 5),)),
    "LeNet": (lambda: models.LeNet(10, image_size=20), lambda: (normal(3, 1, 20, 20),)),
    "ResNet": (lambda: models.ResNet(7, 1, channels=(8, 12, 16, 20)), lambda: (normal(2, 1, 40, 33),)),
    "CharLSTM": (lambda: models.CharLSTM(17, 9, 14, num_layers=2), lambda: (integers(17, 3, 11),)),
    "BERT": (lambda: models.BERTForTokenClassification(5, vocab_size=23, **BERT), lambda: (integers(23, 2, 13),)),
    "SequenceClassifier": (lambda: models.SequenceClassifier(5, 7, 3, "gru", 2, True), lambda: (normal(4, 6, 5),)),
    "SequenceTagger": (lambda: models.SequenceTagger(5, 7, 3, vocabulary=11), lambda: (integers(11, 4, 6),)),
    "Seq2Seq": (lambda: models.Seq2Seq(11, 13, 12, 2), lambda: (integers(11, 4, 6), integers(13, 4, 5))),
    "ConvLSTMForecaster": (lambda: models.ConvLSTMForecaster(2, 5), lambda: (normal(3, 4, 2, 6, 7),)),
    "GPT": (lambda: models.GPT(23, 16, 24, 2, 3, dropout=0.0), lambda: (integers(23, 2, 13),)),
    "Transformer": (
        lambda: models.Transformer(13, None, 24, 3, 1, 1, dim_feedforward=40, dropout=0.0),
        lambda: (integers(13, 4, 6), integers(13, 4, 5)),
    ),
    "FCN": (lambda: models.FCN(5, 3, (6, 7)), lambda: (normal(2, 3, 17, 14),)),
    "UNet": (lambda: models.UNet(5, 3, (4, 6, 8)), lambda: (normal(2, 3, 20, 16),)),
    "ViT": (lambda: models.ViT(5, 3, 16, 8, 2, 3, 24, 40), lambda: (normal(3, 3, 16, 16),)),
    "GCN": (lambda: models.GCN(12, 8, 3, 4), graph_input),
    "GraphSAGE": (lambda: models.GraphSAGE(12, 8, 2, 4), graph_input),
    "GAT": (lambda: models.GAT(12, 8, 2, 4, heads=2), graph_input),
    "GIN": (lambda: models.GIN(12, 8, 2, 4), graph_input),
}
EACH = pytest.mark.parametrize("make, inputs", CASES.values(), ids=CASES.keys())


def results(model, inputs):
    """Outputs, and gradients of all parameters, for cotangents that every dtype shares."""
    outputs = outputs_of(model(*inputs))
    cotangents = [normal(*output.shape, seed=2).bfloat16().to(output) for output in outputs]
    grads = torch.autograd.grad(outputs, list(model.parameters()), cotangents)
    return [*outputs, *grads]


def on(dtype, inputs):
    return tuple(x.to(dtype) if x.is_floating_point() else x for x in inputs)


def deviations(found, stock, truth, dtype):
    """What breaks promise P2, taken over the whole model: its worst result is held against stock's worst."""
    errors = [Error.worst_of(side, truth) for side in (found, stock)]
    return [] if errors[0].within(allowed_error(errors[1], dtype, 1)) else errors


def rival(model):
    """The same model on stock torch: other layers, and graph layers on stock operators."""
    return restore(copy.deepcopy(model))


@EACH
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_equals_stock_torch(make, inputs, training):
    torch.manual_seed(0)
    model = make().train(training)
    with nnzoo_fast.backend("torch"):
        truth = results(rival(model).double(), inputs())
        stock = results(rival(model), on(torch.float32, inputs()))
    found = results(copy.deepcopy(model), on(torch.float32, inputs()))
    assert not deviations(found, stock, truth, torch.float32)
    wrong = [1.01 * value for value in found]
    assert deviations(wrong, stock, truth, torch.float32)


@EACH
def test_restore_leaves_stock_layers_only(make, inputs):
    model = make()
    assert any(type(module) in OURS for module in model.modules())
    stock = rival(model)
    kinds = {type(module).__module__.split(".")[0] for module in stock.modules()}
    layers = {type(module) for module in stock.modules()} - {type(module) for module in model.modules()}
    assert not any(isinstance(module, OURS) for module in stock.modules())
    assert all(layer.__module__.startswith("torch.nn.") for layer in layers) and kinds <= {"torch", "nnzoo_fast"}
    assert list(stock.state_dict()) == list(model.state_dict())


@EACH
def test_compiles_in_one_graph(make, inputs):
    torch._dynamo.reset()
    model = make().eval()
    x = on(torch.float32, inputs())
    found = outputs_of(torch.compile(model, backend="aot_eager", fullgraph=True)(*x))
    for value, expected in zip(found, outputs_of(model(*x)), strict=True):
        torch.testing.assert_close(value, expected)


@EACH
def test_learns(make, inputs):
    torch.manual_seed(0)
    model, x = make(), on(torch.float32, inputs())
    optimizer = torch.optim.Adam(model.parameters(), 3e-2)
    losses = []
    for _ in range(40):
        logits = outputs_of(model(*x))[0].flatten(0, -2)
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % logits.shape[-1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses


def test_mlp_is_the_network_of_the_quickstart():
    model = models.MLP()
    names = [f"linear_relu_stack.{i}.{kind}" for i in (0, 2, 4) for kind in ("weight", "bias")]
    assert list(model.state_dict()) == names
    assert [tuple(p.shape) for p in model.parameters()] == [(512, 784), (512,), (512, 512), (512,), (10, 512), (10,)]


def test_resnet18_is_that_of_torchvision():
    torchvision = peers.torchvision()
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18()
    torch.manual_seed(0)
    ours = models.ResNet()
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state) and len(state) == 122
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
    assert sum(p.numel() for p in ours.parameters()) == 11_689_512
    torch.manual_seed(1)
    theirs = torchvision.models.resnet18(num_classes=5)
    ours = models.ResNet(5)
    ours.load_state_dict(theirs.state_dict())
    x = normal(2, 3, 64, 57)
    with torch.no_grad():
        truth, stock = theirs.double().eval()(x), theirs.float().eval()(x.float())
        found = ours.eval()(x.float())
    assert not deviations([found], [stock], [truth], torch.float32)


def gpt2(transformers, **sizes):
    config = transformers.GPT2Config(bos_token_id=0, eos_token_id=0, attn_implementation="eager", **sizes)
    return transformers.GPT2LMHeadModel(config).eval()


SIZES = dict(vocab_size=101, n_positions=40, n_embd=36, n_layer=3, n_head=3)


def test_gpt_loads_gpt2():
    theirs = gpt2(peers.transformers(), **SIZES)
    with torch.no_grad():  # biases and norms start as 0 and 1, which would hide a swap
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ours = models.GPT(**SIZES).eval()
    assert str(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    assert ours.lm_head.weight is ours.transformer["wte"].weight
    tokens = integers(101, 3, 21)
    with torch.no_grad():
        stock = theirs(tokens).logits
        found = ours(tokens)
        truth = copy.deepcopy(theirs).double()(tokens).logits
        assert not deviations([found], [stock], [truth], torch.float32)
        continued = theirs.generate(
            tokens[:1],
            attention_mask=torch.ones_like(tokens[:1]),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=None,
        )
    assert torch.equal(ours.generate(tokens[:1], 12), continued)
    ours.load_state_dict(ours.state_dict())


def test_gpt_has_the_published_size():
    with torch.device("meta"):
        model = models.GPT()
    assert sum(p.numel() for p in model.parameters()) == 124_439_808
    assert len(model.state_dict()) == 149


def test_gpt_does_not_look_ahead():
    model = models.GPT(**SIZES).eval()
    tokens = integers(101, 1, 12)
    changed = tokens.clone()
    changed[0, 7] = (tokens[0, 7] + 1) % 101
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_gcn_is_that_of_torch_geometric():
    geometric = peers.torch_geometric()
    from torch_geometric.nn.models import GCN

    assert geometric
    theirs = GCN(12, 8, 3, 4, dropout=0.5).eval()
    ours = models.GCN(12, 8, 3, 4, dropout=0.5).eval()
    assert str(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    x, edges = graph_input()
    weight = normal(90).abs()
    for extra in ((), (weight,)):
        with torch.no_grad():
            truth = copy.deepcopy(theirs).double()(x, edges, *extra)
            stock = theirs(x.float(), edges, *[value.float() for value in extra])
            for graph in (edges, Graph(edges, 30)):
                found = ours(x.float(), graph, *[value.float() for value in extra])
                assert not deviations([found], [stock], [truth], torch.float32)


def test_char_lstm_continues_where_it_stopped():
    model = models.CharLSTM(17, num_layers=2).eval()
    text = integers(17, 2, 10)
    with torch.no_grad():
        whole, _ = model(text)
        first, state = model(text[:, :4])
        second, _ = model(text[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: models.MLP((3,)), "sizes"),
        (lambda: models.LeNet(image_size=11), "image_size"),
        (lambda: models.ResNet(blocks=(2, 2)), "blocks"),
        (lambda: models.GPT(**SIZES)(torch.zeros(1, 41, dtype=torch.int64)), "n_positions"),
        (lambda: models.GCN(3, 4, 0, 2), "num_layers"),
    ],
    ids=["MLP", "LeNet", "ResNet", "GPT", "GCN"],
)
def test_wrong_sizes_raise(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
