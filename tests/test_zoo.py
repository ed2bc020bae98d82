"""The published models: sizes and names, outputs and gradients of their peers."""

import copy
import functools

import numpy as np
import peers
import pytest
import torch
from test_models import deviations, normal, on
from zoo import lively, results, without_dropout

from nnzoo_fast import models

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


@pytest.mark.parametrize("count", [np.int64(3), torch.tensor(3)], ids=["numpy", "tensor"])
def test_counts_may_come_from_arrays(count):
    head = models.create("lenet", num_classes=count).classifier[-1]
    assert head.out_features == 3 and type(head.out_features) is int
    assert models.replace_head(models.create("lenet"), count).classifier[-1].out_features == 3
    model, prompt = models.GPT(7, 8, 12, 1, 2).eval(), torch.tensor([[1, 2]])
    assert model.generate(prompt, count, num_beams=count, do_sample=True, top_k=count).shape == (1, 5)


def test_unknown_names():
    with pytest.raises(ValueError, match="no model is called 'resnet19'; did you mean resnet"):
        models.create("resnet19")
    with pytest.raises(ValueError, match="no model is called 7.5; there are mlp, lenet"):
        models.create(7.5)
    for wrong, kind in ((0, ValueError), (-1, ValueError), (2.5, TypeError), ("10", TypeError), (None, TypeError)):
        with pytest.raises(kind, match="create: num_classes must be"):
            models.create("resnet18", num_classes=wrong)
    with pytest.raises(TypeError, match="classes"):
        models.create("resnet18", classes=3)
    with pytest.raises(ValueError, match="as many stages"):
        models.VGG(convolutions=(1, 1))
