"""The published models: sizes and names, outputs and gradients of their peers, weights from elsewhere, transfer."""

import copy
import functools
import pickle

import peers
import pytest
import torch
from test_models import deviations, integers, normal, on

from nnzoo_fast import models
from nnzoo_fast.models.pretrained import weights_of
from nnzoo_fast.models.residual import Bottleneck

IMAGES = [name for name in models.available() if name.startswith(("alexnet", "vgg", "resnet", "efficientnet", "vit"))]
PARAMETERS = {
    "alexnet": (61_100_840, 16),
    "vgg16": (138_357_544, 32),
    "vgg19": (143_667_240, 38),
    "resnet18": (11_689_512, 122),
    "resnet50": (25_557_032, 320),
    "resnet152": (60_192_808, 932),
    "efficientnet_b0": (5_288_548, 360),
    "vit_b_16": (86_567_656, 152),
    "bert": (110_106_428, 208),
    "gpt2": (124_439_808, 149),
}


@pytest.mark.parametrize("name", IMAGES)
def test_keys_and_shapes_are_torchvisions(name):
    torchvision = peers.torchvision()
    with torch.device("meta"):
        ours, theirs = models.create(name).state_dict(), getattr(torchvision.models, name)().state_dict()
    assert [(key, value.shape) for key, value in ours.items()] == [(key, value.shape) for key, value in theirs.items()]


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_sizes(name):
    with torch.device("meta"):
        model = models.create(name)
    assert (sum(p.numel() for p in model.parameters()), len(model.state_dict())) == PARAMETERS[name]


def results(model, inputs):
    """Output, and gradients by all parameters."""
    output = model(*inputs)
    return [output, *torch.autograd.grad(output, list(model.parameters()), normal(*output.shape, seed=2).to(output))]


def lively(model):
    """Biases and norms start as 0 and 1, which would hide a swap."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.dtype.is_floating_point:
                tensor.mul_(1 + 0.2 * torch.rand_like(tensor)).add_(0.02 * torch.rand_like(tensor))
    return model


def without_dropout(model):
    for module in model.modules():
        if "Dropout" in type(module).__name__ or type(module).__name__ == "StochasticDepth":
            module.p = 0.0
    return model


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name, size", [("resnet18", 57), ("resnet50", 64), ("efficientnet_b0", 40)])
def test_equals_torchvision(name, size, training):
    torch.manual_seed(0)
    theirs = lively(getattr(peers.torchvision().models, name)(num_classes=5))
    ours = models.from_torchvision(theirs)
    ours, theirs = (without_dropout(model).train(training) for model in (ours, theirs))
    inputs = (normal(3, 3, size, size),)
    truth = results(copy.deepcopy(theirs).double(), inputs)
    stock, found = (results(copy.deepcopy(model), on(torch.float32, inputs)) for model in (theirs, ours))
    # In training, one ReLU of the last norm over a dozen values that falls to the other side changes every gradient.
    compared = 1 if training else len(truth)
    assert not deviations(found[:compared], stock[:compared], truth[:compared], torch.float32)
    for value, expected in zip(results(ours.double(), inputs), truth, strict=True):
        assert (value - expected).norm() <= 1e-10 * expected.norm() + 1e-12


@pytest.mark.parametrize("name", ["alexnet", "resnet50", "efficientnet_b0"])
def test_the_same_seed_gives_torchvisions_weights(name):
    made = []
    for make in (functools.partial(models.create, name), getattr(peers.torchvision().models, name)):
        torch.manual_seed(0)
        made.append(make(num_classes=5).state_dict().values())
    assert all(map(torch.equal, *made))


def small_resnet(seed=0, **options):
    torch.manual_seed(seed)
    return models.ResNet(7, 2, (1, 1, 1, 1), (4, 6, 8, 10), Bottleneck, **options)


def saved(state, path):
    if path.suffix == ".safetensors":
        pytest.importorskip("safetensors.torch", reason="safetensors is not installed").save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_from_files(suffix, tmp_path):
    source, model = small_resnet(0), small_resnet(1)
    path = saved(dict(source.state_dict()), tmp_path / f"weights{suffix}")
    assert models.load(model, path) is model
    assert all(map(torch.equal, model.state_dict().values(), source.state_dict().values()))
    path.write_bytes(path.read_bytes()[:-1000])
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="no whole file"):
        models.load(model, path)
    assert all(map(torch.equal, model.state_dict().values(), before.values()))


def test_pickled_code_is_not_run(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(small_resnet(), path)
    with pytest.raises(ValueError, match="no whole file of weights"):
        weights_of(path)
    path.write_bytes(pickle.dumps({"a": print}))
    with pytest.raises(ValueError, match="no whole file of weights"):
        weights_of(path)


def test_a_damaged_file_is_no_whole_file(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"weight": torch.arange(6.0)}, path, _use_new_zipfile_serialization=False)
    whole, seen = path.read_bytes(), set()
    for place in range(0, len(whole) - 30, 3):
        path.write_bytes(whole[:place] + b"R" + whole[place + 1 :])
        try:
            weights_of(path)
        except ValueError as error:
            seen.add(type(error.__context__).__name__)
    assert {"IndexError", "KeyError"} & seen


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("bn1.bias"), "bn1.bias is missing"),
        (lambda state: state.update(extra=torch.ones(1)), "extra is unknown"),
        (
            lambda state: state.update({"fc.weight": torch.ones(3, 40)}),
            r"fc.weight has shape \[3, 40\], expected \[7, 40\]",
        ),
        (lambda state: state.update({"fc.bias": 3}), "'fc.bias' is a int"),
        (lambda state: state.clear(), "conv1.weight is missing.* and .* more"),
        (lambda state: state.update({"fc.bias": torch.ones(7).to_sparse()}), "fc.bias is a torch.sparse_coo tensor"),
        (lambda state: state.update({"fc.bias": torch.ones(7, device="meta")}), "fc.bias has no values"),
        (lambda state: state.update({"fc.bias": torch.ones(7) * 1j}), "fc.bias is a .* of torch.complex64"),
    ],
    ids=["missing", "unknown", "shape", "type", "empty", "sparse", "meta", "complex"],
)
def test_what_does_not_fit_is_named_and_changes_nothing(change, message):
    model, state = small_resnet(0), dict(small_resnet(1).state_dict())
    before = copy.deepcopy(model.state_dict())
    change(state)
    with pytest.raises(ValueError, match=message):
        models.load(model, state)
    assert all(map(torch.equal, model.state_dict().values(), before.values()))


def test_from_torchvision_finds_the_model():
    with torch.device("meta"):
        ours = models.create("vgg13_bn", num_classes=3, in_channels=1)
    with pytest.raises(ValueError, match="no weights of a network that begins with a convolution"):
        models.from_torchvision({"weight": torch.ones(3)})
    with pytest.raises(ValueError, match="no weights of a network that begins with a convolution"):
        models.from_torchvision(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1)))
    with pytest.raises(ValueError, match="none of"):
        models.from_torchvision(small_resnet())
    found = models.pretrained._find(ours.state_dict(), {"num_classes": 3, "in_channels": 1})
    assert found == "vgg13_bn"


GPT2 = dict(vocab_size=101, n_positions=40, n_embd=36, n_layer=3, n_head=3, bos_token_id=0, eos_token_id=0)


def test_from_huggingface(tmp_path):
    transformers = peers.transformers()
    torch.manual_seed(0)
    theirs = lively(transformers.GPT2LMHeadModel(transformers.GPT2Config(attn_implementation="eager", **GPT2))).eval()
    theirs.save_pretrained(tmp_path)
    tokens = integers(101, 3, 21)
    with torch.no_grad():
        truth, stock = copy.deepcopy(theirs).double()(tokens).logits, theirs(tokens).logits
        for source in (theirs, tmp_path):
            assert not deviations([models.from_huggingface(source).eval()(tokens)], [stock], [truth], torch.float32)
    albert = transformers.AlbertModel(
        transformers.AlbertConfig(embedding_size=8, hidden_size=24, num_attention_heads=2)
    )
    with pytest.raises(ValueError, match="knows GPT2LMHeadModel, BertModel, .* got AlbertModel"):
        models.from_huggingface(albert)
    for name, value in (
        ("scale_attn_by_inverse_layer_idx", True),
        ("layer_norm_epsilon", 1e-3),
        ("tie_word_embeddings", False),
    ):
        other = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2 | {name: value}))
        with pytest.raises(ValueError, match=f"ours has {name}"):
            models.from_huggingface(other)


BERT = dict(vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)


@pytest.mark.parametrize(
    "name", ["BertModel", "BertForPreTraining", "BertForSequenceClassification", "BertForTokenClassification"]
)
def test_bert_is_that_of_transformers(name, tmp_path):
    transformers = peers.transformers()
    torch.manual_seed(0)
    config = transformers.BertConfig(**BERT, max_position_embeddings=30, num_labels=5)
    theirs = lively(getattr(transformers, name)(config)).eval()
    theirs.save_pretrained(tmp_path)
    tokens, segments = 3 + integers(58, 2, 11), integers(2, 2, 11)
    mask = torch.ones_like(tokens)
    mask[0, 7:] = 0
    with torch.no_grad():
        truth, stock = (
            model(tokens, attention_mask=mask, token_type_ids=segments).to_tuple()
            for model in (copy.deepcopy(theirs).double(), theirs)
        )
        for source in (theirs, tmp_path):
            found = models.from_huggingface(source).eval()(tokens, mask, segments)
            found = found if isinstance(found, tuple) else (found,)
            assert len(found) == len(truth) and not deviations(found, stock, truth, torch.float32)


def test_damaged_folders_are_named(tmp_path):
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="holds a list"):
        models.from_huggingface(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    with pytest.raises(ValueError, match="neither a model.safetensors nor a pytorch_model.bin"):
        models.from_huggingface(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="this BertModel lacks"):
        models.from_huggingface(tmp_path)
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(ValueError, match="no whole file"):
        weights_of(tmp_path / "folder.safetensors")


def test_bert_says_what_it_can_not_read():
    transformers = peers.transformers()
    untied = transformers.BertForPreTraining(transformers.BertConfig(**BERT, tie_word_embeddings=False))
    with pytest.raises(ValueError, match="ours has tie_word_embeddings"):
        models.from_huggingface(untied)
    with pytest.raises(ValueError, match="tokens are 31 long, max_position_embeddings is 30"):
        models.BERT(**BERT, max_position_embeddings=30)(torch.zeros(1, 31, dtype=torch.int64))
    with pytest.raises(ValueError, match="hidden_size 24 is no multiple"):
        models.BERT(**BERT | {"num_attention_heads": 5})


GRAPH_NETWORKS = {
    "GCN": lambda g: g.GCN(12, 8, 3, 4, dropout=0.5, add_self_loops=False, bias=False),
    "GraphSAGE": lambda g: g.GraphSAGE(12, 8, 2, 4, project=True, normalize=True),
    "GAT": lambda g: g.GAT(12, 8, 3, 4, dropout=0.3, heads=2, residual=True),
    "GATv2": lambda g: g.GAT(12, 8, 2, 4, heads=4, v2=True, bias=False),
    "GIN": lambda g: g.GIN(12, 8, 3, 4, norm=None, train_eps=True),
}


@pytest.mark.parametrize("make", GRAPH_NETWORKS.values(), ids=GRAPH_NETWORKS)
def test_from_pyg(make):
    peers.torch_geometric()
    from torch_geometric.nn import models as geometric

    torch.manual_seed(0)
    theirs = lively(make(geometric)).eval()
    ours = models.from_pyg(theirs).eval()
    x, edges = normal(30, 12), integers(30, 2, 90)
    truth, stock = results(copy.deepcopy(theirs).double(), (x, edges)), results(theirs, (x.float(), edges))
    assert not deviations(results(ours, (x.float(), edges)), stock, truth, torch.float32)
    assert ours.dropout.p == theirs.dropout.p


def test_what_from_pyg_does_not_know():
    peers.torch_geometric()
    from torch_geometric.nn import models as geometric

    for wrong, message in (
        (geometric.PNA(3, 4, 2, 2, aggregators=["mean"], scalers=["identity"], deg=torch.ones(3)), "got PNA"),
        (geometric.GCN(3, 4, 2, jk="cat"), "jumping knowledge"),
        (geometric.GIN(3, 4, 2, norm="batch_norm"), "norms"),
        (geometric.GCN(3, 4, 2, 2, improved=True), "improved"),
    ):
        with pytest.raises(ValueError, match=message):
            models.from_pyg(wrong)


VIT = dict(image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=40, num_classes=5)


def test_vit_is_that_of_torchvision():
    peers.torchvision()
    from torchvision.models.vision_transformer import VisionTransformer

    made = []
    for make in (VisionTransformer, models.ViT):
        torch.manual_seed(0)
        made.append(make(**VIT))
    theirs, ours = made
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
    ours.load_state_dict(lively(theirs).state_dict())
    inputs = (normal(2, 3, 32, 32),)
    truth, stock = results(copy.deepcopy(theirs).double(), inputs), results(theirs, on(torch.float32, inputs))
    assert not deviations(results(ours, on(torch.float32, inputs)), stock, truth, torch.float32)
    with pytest.raises(ValueError, match="32x40, expected 32x32"):
        ours(torch.zeros(1, 3, 32, 40))
    with pytest.raises(ValueError, match="image_size 30 is no multiple"):
        models.ViT(**VIT | {"image_size": 30})


def test_an_fcn_answers_alike_on_any_size():
    torch.manual_seed(0)
    model, large = models.FCN(3, 2, (8, 8), dilations=(1, 2, 1)).double(), normal(1, 2, 64, 48)
    whole, part = model(large), model(large[:, :, 10:42, 8:40])
    inside = slice(model.margin, -model.margin)
    torch.testing.assert_close(part[:, :, inside, inside], whole[:, :, 10:42, 8:40][:, :, inside, inside])
    assert not torch.allclose(part, whole[:, :, 10:42, 8:40]), "at the border, padding shows"
    shifted = model(large.roll((3, 5), (2, 3)))[:, :, 10:-10, 10:-10]
    torch.testing.assert_close(shifted, whole.roll((3, 5), (2, 3))[:, :, 10:-10, 10:-10])
    with pytest.raises(ValueError, match="dilations must name 3 layers"):
        models.FCN(3, 2, (8, 8), dilations=(1,))


def test_unet_has_the_published_size():
    with torch.device("meta"):
        model = models.UNet()
        assert model(torch.empty(1, 3, 48, 32)).shape == (1, 2, 48, 32)
    assert sum(p.numel() for p in model.parameters()) == 31_037_698
    with pytest.raises(ValueError, match="40x32, expected multiples of 16"):
        model(torch.empty(1, 3, 40, 32))
    with pytest.raises(ValueError, match="at least two sizes"):
        models.UNet(channels=(3,))


def train(model, steps=3):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    torch.manual_seed(5)
    for _ in range(steps):
        model.train()
        optimizer.zero_grad()
        model(torch.randn(4, 2, 33, 33)).square().sum().backward()
        optimizer.step()


def test_frozen_layers_stay_bit_identical():
    model = models.freeze(models.replace_head(small_resnet(), 3), until="layer4")
    before = copy.deepcopy(model.state_dict())
    train(model)
    after = model.state_dict()
    changed = {key.split(".")[0] for key in after if not torch.equal(after[key], before[key])}
    assert changed == {"layer4", "fc"}
    assert not model.layer1[0].bn1.training and model.layer4[0].bn1.training
    models.unfreeze(model).train()
    assert model.layer1[0].bn1.training and all(p.requires_grad for p in model.parameters())
    train(model)
    assert not torch.equal(model.state_dict()["bn1.running_mean"], before["bn1.running_mean"])


def test_freeze_goes_into_modules():
    model = models.freeze(small_resnet(), until="layer2.0.conv2")
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "layer2.0.conv2.weight" in learning and "layer2.0.bn2.weight" in learning
    assert not {"conv1.weight", "layer1.0.conv1.weight", "layer2.0.conv1.weight", "layer2.0.bn1.bias"} & learning
    whole = models.freeze(small_resnet()).train()
    assert not whole.training and not any(p.requires_grad for p in whole.parameters())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin.train()
        assert not twin.conv1.training and twin.layer4.training and twin.layer2[0].conv2.training
        assert models.unfreeze(twin).train().bn1.training and not model.train().bn1.training
    with pytest.raises(ValueError, match="'layer9' is not among conv1, bn1"):
        models.freeze(model, until="layer9.0")


def test_replace_head():
    model = models.replace_head(small_resnet().double(), 3)
    assert model(normal(2, 2, 33, 33)).shape == (2, 3) and model.fc.weight.dtype == torch.float64
    with torch.device("meta"):
        assert models.replace_head(models.create("vgg11"), 4).classifier[6].out_features == 4
    with pytest.raises(ValueError, match="holds no Linear"):
        models.replace_head(torch.nn.Conv2d(1, 1, 1), 2)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        models.replace_head(model, 0)
    with pytest.raises(ValueError, match="lm_head is shared"):
        models.replace_head(models.GPT(7, 8, 12, 1, 2), 2)


def test_unknown_names():
    with pytest.raises(ValueError, match="no model is called 'resnet19'; there are mlp, lenet"):
        models.create("resnet19")
    with pytest.raises(TypeError, match="classes"):
        models.create("resnet18", classes=3)
    with pytest.raises(ValueError, match="as many stages"):
        models.VGG(convolutions=(1, 1))
