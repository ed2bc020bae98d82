"""Models of torchvision, transformers and timm, accelerated: the same answers, and what was exchanged comes back."""

import concurrent.futures
import copy
import functools
import importlib
import pickle
import time

import peers
import pytest
import torch
from test_huggingface import build as of_transformers
from test_models import deviations, normal
from torch import nn

from nnzoo_fast import accelerate, foreign, pack, report, restore
from nnzoo_fast.nn import drop_in
from nnzoo_fast.nn.chain import chain_of
from nnzoo_fast.nn.drop_in import DROP_INS, find
from nnzoo_fast.nn.packed import FOLDED
from nnzoo_fast.spec import Error


def resnet():
    models = peers.torchvision().models
    model = models.resnet.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1], groups=2, width_per_group=8)
    model.layer3, model.layer4, model.fc = nn.Identity(), nn.Identity(), nn.Linear(512, 5)
    return model


def efficientnet():
    models = peers.torchvision().models.efficientnet
    settings = [models.MBConvConfig(1, 3, 1, 8, 8, 1, 1, 1), models.MBConvConfig(4, 5, 2, 8, 16, 2, 1, 1)]
    return models.EfficientNet(settings, dropout=0.0, stochastic_depth_prob=0.0, num_classes=5, last_channel=24)


def vgg():
    models = peers.torchvision().models.vgg
    model = models.VGG(models.make_layers([4, "M", 8, "M", 8], batch_norm=True), init_weights=False)
    model.avgpool = nn.AdaptiveAvgPool2d(2)
    model.classifier = nn.Sequential(nn.Linear(32, 16), nn.ReLU(True), nn.Linear(16, 5))
    return model


def vit():
    kind = peers.torchvision().models.vision_transformer.VisionTransformer
    model = kind(32, 8, 2, 3, 24, 40, num_classes=5)
    nn.init.normal_(model.heads.head.weight)
    return model


IMAGES = {"resnet": resnet, "efficientnet": efficientnet, "vgg": vgg, "vit": vit}
EACH_IMAGES = pytest.mark.parametrize("make", IMAGES.values(), ids=IMAGES)


def images():
    return normal(4, 3, 32, 32)


def built(make):
    torch.manual_seed(0)
    return make()


def results(model, dtype, training):
    model = copy.deepcopy(model).to(dtype).train(training)
    x = images().to(dtype).requires_grad_()
    output = model(x)
    grads = torch.autograd.grad(output, [x, *model.parameters()], normal(*output.shape, seed=2).to(dtype))
    return [output, *grads, *(buffer for buffer in model.buffers() if buffer.is_floating_point())]


def allowed_in_float64(error_in_float32):
    """Stock torch's error in float32 tells how the model magnifies rounding; each side may be twice as far off."""
    return 4 * error_in_float32 * torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps


def assert_equals_itself(model, training):
    """Accelerated, in outputs, gradients and buffers, float32 and float64; what is wrong by 1 % isn't equal."""
    ours = accelerate(copy.deepcopy(model))
    truth, stock, found = (
        results(each, dtype, training)
        for each, dtype in ((model, torch.float64), (model, torch.float32), (ours, torch.float32))
    )
    assert not deviations(found, stock, truth, torch.float32)
    assert deviations([1.01 * value for value in found], stock, truth, torch.float32)
    exact = results(ours, torch.float64, training)
    allowed = allowed_in_float64(Error.worst_of(stock, truth).largest)
    assert Error.worst_of(exact, truth).largest <= allowed
    assert Error.worst_of([1.01 * value for value in exact], truth).largest > allowed


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@EACH_IMAGES
def test_a_model_of_torchvision_equals_itself(make, training):
    assert_equals_itself(built(make), training)


@EACH_IMAGES
def test_packed_for_inference(make):
    model = built(make).eval()
    results(model, torch.float32, True)  # running statistics that are not those of the start
    ours = pack(accelerate(copy.deepcopy(model)))
    with torch.no_grad():
        truth = [model.double()(images())]
        stock, found = ([each(images().float())] for each in (model.float(), ours))
    assert not deviations(found, stock, truth, torch.float32)
    folds = [module for module in ours.modules() if type(module) in FOLDED.values()]
    assert bool(folds) == (make is not vit)


@pytest.mark.parametrize("make", [*IMAGES.values(), functools.partial(of_transformers, "GPT2LMHeadModel")])
def test_what_was_exchanged_comes_back(make):
    model = built(make)
    kinds, state = [type(module) for module in model.modules()], {k: v.clone() for k, v in model.state_dict().items()}
    accelerate(model)
    ours = pickle.loads(pickle.dumps(model))
    assert [type(module) for module in ours.modules()] == [type(module) for module in model.modules()] != kinds
    pickle.loads(pickle.dumps(pack(copy.deepcopy(model).eval())))
    assert [type(module) for module in restore(model).modules()] == kinds
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_the_report_says_what_runs():
    model = accelerate(of_transformers("GPT2LMHeadModel"))
    layers = {layer.name: layer for layer in report(model, torch.arange(9)[None]).layers}
    expected = [("mlp.c_fc", "Conv1D", "linear"), ("mlp.act", "NewGELUActivation", "activation")]
    for name, kind, operation in expected:
        layer = layers[f"transformer.h.0.{name}"]
        assert layer.kind == kind and layer.reason.startswith(operation) and layer.runs_on != "-"
    assert "transformer.h.0.mlp" not in layers, "a chain of layers computes nothing itself"


@pytest.mark.parametrize("name", foreign.ACTIVATIONS)
def test_activations_of_transformers(name):
    peers.transformers()
    stock = getattr(importlib.import_module("transformers.activations"), name)()
    ours, x = accelerate(copy.deepcopy(stock)), 3 * normal(300, 300)
    assert type(ours) is DROP_INS[type(stock)]
    found, usual, truth = ([layer(value)] for layer, value in ((ours, x.float()), (stock, x.float()), (stock, x)))
    if name == "FastGELUActivation":  # its factor has ten digits
        torch.testing.assert_close(found, usual)
    else:
        assert not deviations(found, usual, truth, torch.float32)


@pytest.mark.parametrize("name", sorted(foreign.RMS_NORMS))
def test_norms_of_transformers(name):
    peers.transformers()
    module, kind = name.rsplit(".", 1)
    stock = getattr(importlib.import_module(module), kind)(40)
    nn.init.normal_(stock.weight)
    ours = accelerate(copy.deepcopy(stock))
    for dtype in (torch.float32, torch.bfloat16):
        x, w = normal(7, 5, 40).to(dtype), stock.weight.detach().to(dtype).double()
        truth = [x.double() * w * (x.double().square().mean(-1, keepdim=True) + stock.variance_epsilon).rsqrt()]
        found, usual = ([layer.to(dtype)(x)] for layer in (ours, stock))
        assert not deviations(found, usual, truth, dtype)
    x = normal(7, 5, 40)
    assert torch.equal(ours.double()(x), stock.double()(x)), "theirs is float32 inside"
    mixed = ours.float()(x.bfloat16()), stock.float()(x.bfloat16())
    assert torch.equal(*mixed) and mixed[0].dtype is mixed[1].dtype


class Watched(nn.Module):
    """What is a chain, and what looks like one."""

    def chain(self, x):
        x = self.first(x)
        return self.second(x)

    def with_a_gate(self, x):
        return self.second(x) * self.first(x)

    def with_an_option(self, x):
        return self.second(x) if self.training else self.first(x)

    def with_a_type(self, x):
        return self.second(x.float()) if isinstance(x, torch.Tensor) else self.second(x)

    def with_a_function(self, x):
        return torch.relu(self.first(x))

    def with_none(self, x):
        return self.first(x) if self.second is None else self.second(x)

    def with_two(self, x):
        self.first(x)
        return self.second(x)

    def with_an_argument(self, x, mask=None):
        return self.first(x)

    def with_a_memory(self, x):
        self.last = x
        return self.first(x)

    def with_a_mark(self, x):
        x.seen = True
        return self.first(x)

    def with_a_kind(self, x):
        return self.first(x) if isinstance(self.second, nn.Linear) else self.second(x)

    @torch.no_grad()
    def with_a_decorator(self, x):
        return self.first(x)

    def with_a_context(self, x):
        with torch.autocast("cpu", enabled=False):
            return self.first(x)

    def with_a_global_setting(self, x):
        return self.first(x) if torch.is_grad_enabled() else self.second(x)


@pytest.mark.parametrize("name", [name for name in vars(Watched) if name[:2] != "__"])
def test_what_is_a_chain(name):
    kind = type("Kind", (Watched,), {"forward": vars(Watched)[name]})
    assert chain_of(kind) == {"chain": ("first", "second"), "with_none": ("second",)}.get(name)
    assert find(kind) is None, "not of a library"


def test_threads_find_one_class(monkeypatch):
    class Kind(nn.Module):
        pass

    made = []

    def slowly(kind):
        if kind is Kind:
            time.sleep(0.05)
            made.append(type("Made", (Kind,), {}))
            return made[-1]

    monkeypatch.setattr(drop_in, "MAKERS", [slowly])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(find, [Kind] * 4))
    assert found == made * 4
    del DROP_INS[Kind]


def test_subclasses_of_sequential():
    assert chain_of(type("Kind", (nn.Sequential,), {})) == ()
    assert chain_of(type("Kind", (nn.Sequential,), {"forward": lambda self, x: x})) is None


@pytest.mark.parametrize("name, second", [("chain", torch.relu), ("with_none", None)])
def test_a_chain_with_a_layer_missing_keeps_its_code(name, second, monkeypatch):
    monkeypatch.setattr(foreign, "LIBRARIES", (__name__,))
    kind = type("Kind", (nn.Module,), {"forward": vars(Watched)[name], "__module__": __name__})
    model = kind()
    model.first, model.second = nn.Linear(3, 3), second
    x = normal(2, 3).float()
    expected = model(x)
    torch.testing.assert_close(accelerate(model)(x), expected)
    torch.testing.assert_close(model(x=x), expected)
    assert type(model) is DROP_INS.pop(kind)
