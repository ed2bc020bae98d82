"""Transfer learning: what is frozen stays as it is, bit by bit, and heads are replaced."""

import copy
import pickle

import pytest
import torch
from test_models import normal
from zoo import small_resnet

from nnzoo_fast import models


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


def test_optimizers_leave_frozen_layers_alone():
    """Also one that has seen their gradients, and goes on by its momentum and the weights' decay."""
    model = small_resnet()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.1)

    def step():
        model.train()(torch.randn(4, 2, 33, 33)).square().sum().backward()
        optimizer.step()

    step()
    models.freeze(model, until="layer4")
    before = copy.deepcopy(model.state_dict())
    for clear_to_none in (False, True):
        step()
        optimizer.zero_grad(clear_to_none)
    after = model.state_dict()
    assert {key.split(".")[0] for key in after if not torch.equal(after[key], before[key])} == {"layer4", "fc"}


def test_freeze_takes_the_parameters_around():
    model = models.ViT(5, 3, 16, 8, 2, 3, 24, 40)
    models.freeze(model, until="encoder.layers.encoder_layer_1")
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert {"class_token", "conv_proj.weight", "encoder.pos_embedding"} <= frozen
    rest = {name for name in frozen if not name.startswith("encoder.layers.encoder_layer_0")}
    assert rest == {"class_token", "conv_proj.weight", "conv_proj.bias", "encoder.pos_embedding"}


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
    with pytest.raises(TypeError, match="model must be a torch.nn.Module, got str"):
        models.freeze("resnet18")


def test_replace_head():
    model = models.replace_head(small_resnet().double(), 3)
    assert model(normal(2, 2, 33, 33)).shape == (2, 3) and model.fc.weight.dtype == torch.float64
    with torch.device("meta"):
        assert models.replace_head(models.create("vgg11"), 4).classifier[6].out_features == 4
    with pytest.raises(ValueError, match="holds no Linear"):
        models.replace_head(torch.nn.Conv2d(1, 1, 1), 2)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        models.replace_head(model, 0)
    with pytest.raises(TypeError, match="must be an integer, got '3'"):
        models.replace_head(model, "3")
    with pytest.raises(ValueError, match="lm_head is shared"):
        models.replace_head(models.GPT(7, 8, 12, 1, 2), 2)
