"""`pack` folds convolution, batch norm, ReLU and shortcut into one convolution; whatever could tell unfolds them."""

import copy
import io
import pickle
import sys
import types

import pytest
import torch
from torch import nn as stock
from torch.nn.utils import parametrizations

import nnzoo_fast
from nnzoo_fast import accelerate, models, nn, ops, pack, report, restore, unpack
from nnzoo_fast.models.residual import BasicBlock
from nnzoo_fast.nn import folded
from nnzoo_fast.nn.folded import parameters_of
from nnzoo_fast.nn.packed import FOLDED, Packed
from nnzoo_fast.spec import Error, allowed_error


@pytest.fixture
def folded_calls(monkeypatch):
    """The groups that ran as one convolution."""
    calls, run = [], folded.Group.run

    def counted(group, *args):
        calls.append(group)
        return run(group, *args)

    monkeypatch.setattr(folded.Group, "run", counted)
    return calls


def lively(module):
    """Batch norms that do something, in eval mode."""
    generator = torch.Generator().manual_seed(3)
    for layer in module.modules():
        if isinstance(layer, stock.modules.batchnorm._BatchNorm):
            for name, shift in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 2.0)):
                value = getattr(layer, name)
                if value is not None:
                    noise = torch.rand(value.shape, generator=generator, dtype=torch.float64) - 0.5
                    value.data.copy_(noise + shift)
    return module.eval()


def sequential(n=2, dtype=torch.float32, **norm):
    torch.manual_seed(0)
    conv, bn = getattr(stock, f"Conv{n}d"), getattr(stock, f"BatchNorm{n}d")
    layers = stock.Sequential(
        conv(3, 6, 3, padding=1),
        bn(6, **norm),
        stock.ReLU(),
        conv(6, 4, 2, bias=False, groups=2),
        bn(4, eps=0.1, **norm),
    )
    return accelerate(lively(layers)).to(dtype)


def block(stride=2):
    torch.manual_seed(0)
    return lively(BasicBlock(3, 5, stride))


def bottleneck():
    """torchvision's block, as far as its forward goes."""

    class Bottleneck(stock.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2, self.conv3 = nn.Conv2d(5, 2, 1), nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 5, 1)
            self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(2), nn.BatchNorm2d(2), nn.BatchNorm2d(5)
            self.relu, self.downsample = nn.ReLU(inplace=True), None

        def forward(self, x):
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
            out += x if self.downsample is None else self.downsample(x)
            return self.relu(out)

    return Bottleneck


def batch(n=2, channels=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, channels, *(9, 7, 5)[:n], generator=generator, dtype=torch.float64).to(dtype)


@torch.no_grad()
def run(layers, x=None):
    x = batch(dtype=next(layers.parameters()).dtype) if x is None else x
    return layers(x.clone())


def rival(layers, x=None):
    """Stock torch, layer by layer, on the parameters as they are now."""
    return run(restore(copy.deepcopy(layers)), x)


def is_folded(layers):
    return any(isinstance(layer, Packed) for layer in layers.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_equals_the_oracle(n, affine, dtype, folded_calls):
    layers, x = sequential(n, dtype, affine=affine), batch(n, dtype=dtype)
    truth, theirs = run(copy.deepcopy(layers).double(), x.double()), rival(layers, x)
    error = Error.of(run(pack(layers), x), truth)
    allowed = allowed_error(Error.of(theirs, truth), dtype, 27)
    assert len(folded_calls) == 2 and error.within(allowed), f"{error}, allowed {allowed}"


def test_batch_norms_of_torch_fold_too(folded_calls):
    layers, x = sequential(), batch()
    for place in (1, 4):
        restore(layers[place])
    assert type(layers[1]) is stock.BatchNorm2d and type(layers[0]) is nn.Conv2d
    expected = rival(layers, x)
    torch.testing.assert_close(run(pack(layers), x), expected)
    assert len(folded_calls) == 2 and type(unpack(layers)[1]) is stock.BatchNorm2d


@pytest.mark.parametrize("stride", [1, 2])
def test_blocks(stride, folded_calls):
    layers, x = block(stride), batch(channels=3)
    expected = rival(layers, x)
    torch.testing.assert_close(run(pack(layers), x), expected)
    assert len(folded_calls) == 3


def test_a_network_and_back(folded_calls):
    torch.manual_seed(0)
    net = lively(models.ResNet(4, blocks=(1, 1, 1, 1), channels=(4, 4, 6, 6)))
    x, types = torch.randn(1, 3, 40, 40), [type(layer) for layer in net.modules()]
    before, state = run(net, x), copy.deepcopy(net.state_dict())
    packed = run(pack(net), x)
    assert len(folded_calls) == 11 and not torch.equal(packed, before)
    torch.testing.assert_close(packed, before)
    assert list(net.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.equal(run(unpack(net), x), before) and [type(layer) for layer in net.modules()] == types


def test_torchvisions_blocks_when_it_is_loaded(monkeypatch, folded_calls):
    kind = bottleneck()
    monkeypatch.setitem(sys.modules, "imitation", types.SimpleNamespace(Bottleneck=kind))
    folded._folds_blocks("imitation")
    try:
        layers = lively(kind())
        x = batch(channels=5)
        expected = run(layers, x)
        torch.testing.assert_close(run(pack(layers), x), expected)
        assert len(folded_calls) == 3
        layers.downsample = stock.Conv2d(5, 5, 1)
        torch.testing.assert_close(run(layers, x), rival(layers, x))
    finally:
        del FOLDED[kind]


def nothing(*args):
    return None


CHANGES = {
    "train": lambda m: m.train(),
    "train of the norm": lambda m: m[1].train(),
    "train and eval of the norm": lambda m: (m[1].train(), m[1].eval()),
    "train and eval": lambda m: m.train().eval(),
    "load_state_dict": lambda m: m.load_state_dict(doubled(m)),
    "load_state_dict of the conv": lambda m: m[0].load_state_dict(doubled(m[0])),
    "load_state_dict of the norm": lambda m: m[1].load_state_dict(doubled(m[1])),
    "assign": lambda m: m[1].load_state_dict(doubled(m[1]), assign=True),
    "to": lambda m: m.double().float(),
    "to of a member": lambda m: m[0].double().float(),
    "restore": restore,
    "unpack": unpack,
    "forward hook": lambda m: m[0].register_forward_hook(nothing),
    "forward hook of the norm": lambda m: m[1].register_forward_hook(lambda *a: a[-1] * 2),
    "pre-hook of the relu": lambda m: m[2].register_forward_pre_hook(lambda m, a: (a[0] + 1,)),
    "backward hook": lambda m: m[1].register_full_backward_hook(nothing),
    "a new parameter": lambda m: setattr(m[0], "weight", stock.Parameter(m[0].weight * 2)),
    "a new buffer": lambda m: setattr(m[1], "running_var", m[1].running_var * 2),
    "no bias any more": lambda m: setattr(m[0], "bias", None),
    "another norm": lambda m: m.__setitem__(1, lively(stock.BatchNorm2d(6))),
    "another relu": lambda m: m.__setitem__(2, stock.GELU()),
    "something between": lambda m: m.insert(1, stock.Tanh()),
    "one layer less": lambda m: m.pop(2),
    "eps": lambda m: setattr(m[1], "eps", 0.5),
    "its own forward": lambda m: setattr(m[1], "forward", lambda x: x * 3),
    "parametrized": lambda m: parametrizations.weight_norm(m[0]),
}


def doubled(module):
    return {name: value * 2 for name, value in module.state_dict().items()}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_ends_a_fold(change, folded_calls):
    layers = pack(sequential())
    run(layers)
    assert len(folded_calls) == 2
    change(layers)
    training = any(layer.training for layer in layers.modules())
    found = run(copy.deepcopy(layers)) if training else run(layers)
    assert len(folded_calls) == 2, "the first group must not run folded any more"
    unpack(layers)
    torch.testing.assert_close(found, run(copy.deepcopy(layers)))


@pytest.mark.parametrize(
    "build",
    [
        lambda: sequential(track_running_stats=False),
        lambda: hooked(sequential()),
        lambda: stock.Sequential(nn.Conv2d(3, 6, 3), stock.BatchNorm2d(5)).eval(),
        lambda: stock.Sequential(nn.Conv2d(3, 6, 3), stock.BatchNorm2d(6).double()).eval(),
        lambda: stock.Sequential(nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular"), stock.BatchNorm2d(6)).eval(),
        lambda: stock.Sequential(stock.Conv2d(3, 6, 3), stock.BatchNorm2d(6)).eval(),
        lambda: stock.Sequential(nn.Conv2d(3, 6, 3), stock.SyncBatchNorm(6)).eval(),
        lambda: type("Mine", (stock.Sequential,), {})(nn.Conv2d(3, 6, 3), stock.BatchNorm2d(6)).eval(),
        lambda: type("Mine", (BasicBlock,), {})(6, 6, 1).eval(),
        lambda: stock.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 6, 3)), stock.BatchNorm2d(6)).eval(),
    ],
    ids=["batch statistics", "hook", "sizes", "dtypes", "padding mode", "stock", "sync", "subclass", "block", "param"],
)
def test_what_is_not_folded(build):
    assert not is_folded(pack(build()))


def hooked(layers):
    for layer in (layers[1], layers[3]):
        layer.register_forward_pre_hook(nothing)
    return layers


def test_shared_layers(folded_calls):
    torch.manual_seed(0)
    conv, norm = stock.Conv2d(3, 3, 3, padding=1), stock.BatchNorm2d(3)
    layers = accelerate(lively(stock.Sequential(conv, norm, stock.ReLU(), conv, norm, conv)))
    expected = run(layers)
    torch.testing.assert_close(run(pack(layers)), expected)
    assert len(folded_calls) == 1
    twice = lively(stock.Sequential(*[stock.Sequential(conv, norm)] * 2))
    torch.testing.assert_close(run(pack(unpack(twice))), run(unpack(twice)))


def test_slices_and_single_layers_run_as_they_are(folded_calls):
    layers = pack(sequential())
    x = batch()
    with torch.no_grad():
        torch.testing.assert_close(layers[0](x), rival(layers[0], x))
        torch.testing.assert_close(layers[:2](x), rival(layers[:2], x))
        torch.testing.assert_close(layers[1](layers[0](x)), layers[:2](x))
    assert folded_calls == []


def saved(layers):
    buffer = io.BytesIO()
    torch.save(layers, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), saved])
@pytest.mark.parametrize("build", [sequential, block])
def test_copies_are_not_folded(build, duplicate):
    layers = pack(build())
    twin = duplicate(layers)
    assert is_folded(layers) and not is_folded(twin)
    torch.testing.assert_close(run(twin), run(layers))


def test_gradients_are_those_of_the_parameters(folded_calls):
    layers = sequential(dtype=torch.float64)
    x = batch(dtype=torch.float64).requires_grad_()
    wanted = [x, *layers.parameters()]
    before = torch.autograd.grad(layers(x).square().sum(), wanted)
    after = torch.autograd.grad(pack(layers)(x).square().sum(), wanted)
    assert folded_calls == [] and all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for parameter in layers.parameters():
        parameter.requires_grad_(False)
    layers(x.detach())
    assert len(folded_calls) == 2


def test_writes_that_torch_does_not_count_are_ignored_until_packed_again(folded_calls):
    layers = pack(sequential(dtype=torch.float64))
    before = run(layers)
    layers[1].running_mean.data.add_(1.0)
    layers[0].weight.data.mul_(2.0)
    assert torch.equal(run(layers), before)
    torch.testing.assert_close(run(pack(layers)), rival(layers))
    assert not torch.allclose(run(layers), before)


@pytest.mark.parametrize("place", range(6))
def test_writes_that_torch_counts_are_seen(place, folded_calls):
    layers = pack(sequential(dtype=torch.float64))
    with torch.no_grad():
        parameters_of(*layers[:2])[place].add_(0.5)
    torch.testing.assert_close(run(layers), rival(layers))
    assert len(folded_calls) == 0
    run(pack(layers))
    assert len(folded_calls) == 2


def test_functional_call_and_transforms(folded_calls):
    layers = pack(sequential())
    zeros = {name: torch.zeros_like(value) for name, value in layers.named_parameters()}
    with torch.no_grad():
        assert torch.func.functional_call(layers, zeros, batch()).count_nonzero() == 0
        torch.testing.assert_close(torch.vmap(layers)(batch()[:, None])[:, 0], rival(layers))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            layers(batch())
        with nnzoo_fast.backend("reference"):
            layers(batch())
    assert folded_calls == []


def test_compiled(folded_calls):
    layers = pack(sequential())
    with torch.no_grad():
        compiled = torch.compile(layers, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(batch()), rival(layers))
    assert folded_calls == []


def test_training_mode_is_refused():
    layers = sequential()
    layers[1].train()
    with pytest.raises(RuntimeError, match="is in training mode"):
        pack(stock.Sequential(layers))
    assert not is_folded(layers)


def test_a_wrong_fold_is_noticed(monkeypatch):
    layers = sequential()
    run_conv = ops.conv
    monkeypatch.setattr(folded.ops, "conv", lambda x, weight, *rest: run_conv(x, weight * 1.01, *rest))
    assert not torch.allclose(run(pack(layers)), rival(layers), rtol=1e-3)


def test_report_names_folded_layers():
    layers = pack(sequential())
    with torch.no_grad():
        rows = report(layers).layers
    assert [row.kind for row in rows[:2]] == ["Conv2d", "BatchNorm2d"] and "folded" in rows[0].reason
