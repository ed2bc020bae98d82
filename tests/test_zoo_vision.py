"""Feed-forward and convolutional networks against compositions of torch.nn's layers and against timm."""

import copy

import peers
import pytest
import torch
from test_models import deviations, normal, on
from torch.nn import BatchNorm1d, Dropout, Flatten, Linear, Sequential
from zoo import lively, results

from nnzoo_fast import models, nn
from nnzoo_fast.models.peers import PEERS


def differences(ours, theirs, inputs):
    """What breaks P2 between a model and its peer, which get the same weights; eval mode."""
    ours.load_state_dict(lively(theirs).state_dict())
    ours, theirs = ours.eval(), theirs.eval()
    truth = results(copy.deepcopy(theirs).double(), inputs)
    stock, found = (results(model, on(torch.float32, inputs)) for model in (theirs, ours))
    for value, expected in zip(results(ours.double(), inputs), truth, strict=True):
        assert (value - expected).norm() <= 1e-10 * expected.norm() + 1e-12
    return deviations(found, stock, truth, torch.float32)


class InTurn(torch.nn.Module):
    """Runs the children one after the other, under their names."""

    def __init__(self, **children):
        super().__init__()
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, x):
        for child in self.children():
            x = child(x)
        return x


def test_an_mlp_of_any_depth():
    tanh = torch.nn.Tanh
    layers = Linear(12, 9), BatchNorm1d(9), tanh(), Dropout(0.3), Linear(9, 7), BatchNorm1d(7), tanh(), Dropout(0.3)
    theirs = InTurn(flatten=Flatten(), linear_relu_stack=Sequential(*layers, Linear(7, 3)))
    ours = models.MLP((12, 9, 7, 3), nn.Tanh, dropout=0.3, batch_norm=True)
    assert [type(layer) for layer in ours.linear_relu_stack] == [
        getattr(nn, type(layer).__name__) for layer in theirs.linear_relu_stack
    ]
    assert not differences(ours, theirs, (normal(5, 3, 4),))
    single = models.MLP((12, 3), bias=False)
    assert [tuple(p.shape) for p in single.parameters()] == [(3, 12)]
    with pytest.raises(ValueError, match="dropout probability"):
        models.MLP(dropout=2)


CNNS = {
    1: dict(channels=(6, 8), convolutions=(1, 2), kernel_size=5, stem=(8, 4), pool=(4, 1)),
    2: dict(channels=(6, 8), convolutions=2, kernel_size=(3, 5), activation=nn.GELU, batch_norm=False),
    3: dict(channels=(4, 5, 6), in_channels=2, pool=(2, 1, 1), activation=nn.SiLU),
}


def composed(dimensions, layers):
    convolution, norm, pool, mean = (
        getattr(torch.nn, f"{kind}{dimensions}d") for kind in ("Conv", "BatchNorm", "MaxPool", "AdaptiveAvgPool")
    )
    made = [
        {"conv": convolution, "norm": norm, "pool": pool}[kind](*sizes) if isinstance(kind, str) else kind()
        for kind, *sizes in layers
    ]
    last = next(layer for layer in reversed(made) if isinstance(layer, convolution)).out_channels
    head = Sequential(mean(1), Flatten(), Dropout(0.0), Linear(last, 10))
    return InTurn(features=Sequential(*made), classifier=head)


@pytest.mark.parametrize("dimensions", CNNS)
def test_cnns(dimensions):
    relu, gelu, silu = ((kind,) for kind in (torch.nn.ReLU, torch.nn.GELU, torch.nn.SiLU))
    layers = {
        1: [
            *(("conv", 1, 6, 8, 4, 2), ("norm", 6), relu, ("pool", 4)),
            *(("conv", 6, 8, 5, 1, 2), ("norm", 8), relu, ("conv", 8, 8, 5, 1, 2), ("norm", 8), relu),
        ],
        2: [
            *(("conv", 1, 6, 3, 1, 1), gelu, ("conv", 6, 6, 3, 1, 1), gelu, ("pool", 2)),
            *(("conv", 6, 8, 5, 1, 2), gelu, ("conv", 8, 8, 5, 1, 2), gelu, ("pool", 2)),
        ],
        3: [
            *(("conv", 2, 4, 3, 1, 1), ("norm", 4), silu, ("pool", 2)),
            *(("conv", 4, 5, 3, 1, 1), ("norm", 5), silu, ("conv", 5, 6, 3, 1, 1), ("norm", 6), silu),
        ],
    }[dimensions]
    sizes = {1: (1, 67), 2: (1, 13, 10), 3: (2, 6, 7, 5)}[dimensions]
    ours = models.CNN(dimensions, **CNNS[dimensions])
    assert not differences(ours, composed(dimensions, layers), (normal(3, *sizes),))


def test_wrong_cnns():
    for options, message in (
        ({"dimensions": 4}, "dimensions must be 1, 2 or 3, got 4"),
        ({"dimensions": 1, "kernel_size": (3, 4, 3)}, r"kernel_size must be odd, got \(3, 4, 3\)"),
        ({"dimensions": 1, "pool": (2, 2)}, r"pool must name 3 stages as channels does, got \[2, 2\]"),
    ):
        with pytest.raises(ValueError, match=message):
            models.CNN(**options)
    with pytest.raises(ValueError, match="five stages"):
        models.C3D(channels=(3,))


def test_convolutions_follow_a_shifted_signal():
    torch.manual_seed(0)
    model, x = models.CNN(1, channels=(4, 5), pool=1).double().eval(), normal(1, 1, 40)
    whole, shifted = model.features(x), model.features(x.roll(3, -1))
    torch.testing.assert_close(shifted[..., 6:-3], whole.roll(3, -1)[..., 6:-3])
    assert not torch.allclose(shifted, whole)


@pytest.mark.parametrize(
    "name, parameters",
    [
        ("m3", 221_194),
        ("m5", 559_114),
        ("m11", 1_786_442),
        ("m18", 3_683_786),
        ("c3d", 78_409_573),
        ("unet", 31_037_698),
        ("nasnetamobile", 5_289_978),
        ("nasnetalarge", 88_753_150),
    ],
)
def test_keys_shapes_and_sizes_are_the_peers(name, parameters):
    if name.startswith("nasnet"):
        peers.timm()
    with torch.device("meta"):
        ours, theirs = models.create(name), PEERS[name]()
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert sum(parameter.numel() for parameter in ours.parameters()) == parameters


def test_nasnet_is_that_of_timm():
    peers.timm()
    from timm.models.nasnet import NASNetALarge

    made = []
    for make in (models.NASNet, NASNetALarge):
        torch.manual_seed(0)
        made.append(make(5, 2, stem_size=6, num_features=96))
    ours, theirs = made
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
    x = normal(2, 2, 33, 40)  # of odd and even sizes, padding differs
    assert not differences(ours, theirs, (x,))
    assert not torch.allclose(ours(x.flip(-1)), theirs.double()(x))


def test_wrong_nasnets():
    for options, message in (
        ({"num_features": 100}, "multiple of 96, got 100"),
        ({"cells": 1}, "cells must be at least 2, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            models.NASNet(**options)
