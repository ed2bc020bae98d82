"""Weights from files and from live models of torchvision, transformers and PyTorch Geometric."""

import copy
import pickle

import peers
import pytest
import torch
from test_models import deviations, integers, normal
from zoo import lively, results, small_resnet

from nnzoo_fast import models
from nnzoo_fast.models.pretrained import weights_of


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


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_from_torchvision_takes_vit(suffix, tmp_path):
    peers.torchvision()
    from torchvision.models.vision_transformer import VisionTransformer

    sizes = dict(image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=40)
    theirs = lively(VisionTransformer(**sizes, num_classes=7))
    path = saved(dict(theirs.state_dict()), tmp_path / f"vit{suffix}")
    for source in (theirs, path):
        ours = models.from_torchvision(source, "vit_b_16", **sizes)
        assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


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
    with pytest.raises(ValueError, match="knows GPT2LMHeadModel, .* got Linear"):
        models.from_huggingface(torch.nn.Linear(2, 2))
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
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="is a file, expected the folder"):
        models.from_huggingface(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no folder with a config.json, .* nothing is downloaded"):
        models.from_huggingface(tmp_path)
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


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_from_pyg_takes_files(suffix, tmp_path):
    peers.torch_geometric()
    from torch_geometric.nn import models as geometric

    torch.manual_seed(0)
    theirs = geometric.GAT(12, 8, 2, 4, heads=2)
    path = saved(dict(theirs.state_dict()), tmp_path / f"gat{suffix}")
    sizes = dict(in_channels=12, hidden_channels=8, num_layers=2, out_channels=4)
    ours = models.from_pyg(path, "GAT", heads=2, **sizes)
    assert all(torch.equal(ours.state_dict()[key], value) for key, value in theirs.state_dict().items())
    with pytest.raises(ValueError, match=r"convs.0.att_src has shape \[1, 2, 4\], expected \[1, 4, 2\]"):
        models.from_pyg(path, "GAT", heads=4, **sizes)
    with pytest.raises(ValueError, match="name must say which of GCN, .* got None"):
        models.from_pyg(path)
    with pytest.raises(TypeError, match="tells its class"):
        models.from_pyg(theirs, "GAT")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no whole file"):
        models.from_pyg(path, "GAT", heads=2, **sizes)


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
