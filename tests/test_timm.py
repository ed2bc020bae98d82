"""timm's own classes, accelerated and packed: the same answers, and the report names what was exchanged."""

import copy

import peers
import pytest
import torch
from test_foreign import assert_equals_itself, images, results
from test_models import deviations
from torch import nn

from nnzoo_fast import accelerate, foreign, pack, report, restore
from nnzoo_fast.nn.drop_in import DROP_INS
from nnzoo_fast.nn.packed import FOLDED


def vit():
    kind = peers.timm().models.VisionTransformer
    return kind(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5)


def convnext():
    return peers.timm().models.ConvNeXt(depths=(1,) * 4, dims=(8, 8, 16, 16), ls_init_value=0.5, num_classes=5)


def resnet():
    kinds = peers.timm().models.resnet
    model = kinds.ResNet(kinds.Bottleneck, (1,) * 4, channels=(4, 4, 8, 8), num_classes=5, stem_width=8)
    model.layer3, model.layer4, model.fc = nn.Identity(), nn.Identity(), nn.Linear(16, 5)
    return model


def mobilenet():
    """Depthwise and inverted blocks with squeeze and excitation."""
    blocks = [["ds_r1_k3_s1_e1_c8_se0.25"], ["ir_r1_k5_s2_e3_c16_se0.25_nre"]]
    decoded = peers.timm().models._efficientnet_builder.decode_arch_def(blocks)
    return peers.timm().models.MobileNetV3(decoded, num_classes=5, stem_size=8, num_features=24, act_layer=nn.SiLU)


MODELS = {
    vit: {"Conv2d": "conv", "LayerNorm": "layer_norm", "Linear": "linear"},
    convnext: {"Conv2d": "conv", "LayerNorm2d": "layer_norm", "LayerNorm": "layer_norm", "Linear": "linear"},
    resnet: {"Conv2d": "conv", "BatchNorm2d": "batch_norm", "MaxPool2d": "max_pool", "Linear": "linear"},
    mobilenet: {"Conv2d": "conv", "BatchNormAct2d": "batch_norm"},
}
"""Which operation the report names for which class."""

EACH = pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)


def built(make):
    torch.manual_seed(0)
    model = make()
    for parameter in model.parameters():  # heads and last norms begin at 0
        if not parameter.count_nonzero():
            nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@EACH
def test_a_model_of_timm_equals_itself(make, training):
    assert_equals_itself(built(make), training)


@EACH
def test_packed_for_inference(make):
    model = built(make).eval()
    ours = pack(accelerate(copy.deepcopy(model)))
    with torch.no_grad():
        truth = [copy.deepcopy(model).double()(images())]
        stock, found = ([each(images().float())] for each in (model, ours))
    assert not deviations(found, stock, truth, torch.float32)
    assert make is not resnet or any(type(module) in FOLDED.values() for module in ours.modules())


@EACH
def test_the_report_names_what_was_exchanged(make):
    model = built(make).eval()
    kinds = [type(module) for module in model.modules()]
    with torch.no_grad():
        layers = report(accelerate(model), images().float()).layers
    for kind, operation in MODELS[make].items():
        reasons = [layer.reason for layer in layers if layer.kind == kind]
        assert reasons and all(operation in reason for reason in reasons), (kind, reasons)
    assert [type(module) for module in restore(model).modules()] == kinds


@pytest.mark.parametrize("name", foreign.TIMM_NORMS)
def test_norms_of_timm(name):
    kind = getattr(peers.timm().layers, name.rsplit(".", 1)[1])
    stock = kind(32 if kind.__name__ == "LayerNorm" else 3)  # the last dimension, the channels
    nn.init.normal_(stock.weight)
    ours = accelerate(copy.deepcopy(stock))
    assert type(ours) is DROP_INS[kind]
    truth, usual, found = (
        results(layer, dtype, True)
        for layer, dtype in ((stock, torch.float64), (stock, torch.float32), (ours, torch.float32))
    )
    assert not deviations(found, usual, truth, torch.float32)
