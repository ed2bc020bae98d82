"""Networks of images, sound and video, of torch.nn's layers and of timm's cells."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from nnzoo_fast.models.peers.libraries import module


class NASNetAMobile(nn.Module):
    """timm has the large network: the mobile one is made of its cells, whose order differs behind a reduction."""

    def __init__(self):
        super().__init__()
        whole = module("timm.models.nasnet").NASNetALarge(stem_size=32, num_features=1056)
        for name, child in whole.named_children():
            if name not in {f"cell_{number}" for number in (4, 5, 10, 11, 16, 17)}:
                setattr(self, name, child)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv0(x)
        before, now = x, self.cell_stem_0(x)
        before, now = now, self.cell_stem_1(x, now)
        for name in ("0", "1", "2", "3", "r0", "6", "7", "8", "9", "r1", "12", "13", "14", "15"):
            cell = getattr(self, f"reduction_cell_{name[1]}" if name[0] == "r" else f"cell_{name}")
            before, now = now, cell(now, before)
        return self.last_linear(self.head_drop(self.global_pool(self.act(now))))


def _named(**children: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(children))


def quickstart() -> nn.Module:
    """The network of PyTorch's quickstart."""
    stack = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return _named(flatten=nn.Flatten(), linear_relu_stack=stack)


def lenet() -> nn.Module:
    """LeNet-5 with ReLU and max-pooling."""
    convolutions = nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU()
    layers = nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
    return _named(
        features=nn.Sequential(*convolutions, nn.MaxPool2d(2)), classifier=nn.Sequential(nn.Flatten(), *layers)
    )


def wave(*rows: int | str) -> nn.Module:
    """A column of the table of Dai et al. (2017): the number of filters of each convolution, and "pool"."""
    layers, width = [], 1
    for row in rows:
        if row == "pool":
            layers.append(nn.MaxPool1d(4))
            continue
        first = nn.Conv1d(1, row, 80, stride=4, padding=38)
        layers += [nn.Conv1d(width, row, 3, padding=1) if layers else first, nn.BatchNorm1d(row), nn.ReLU()]
        width = row
    head = nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(0.0), nn.Linear(width, 10)
    return _named(features=nn.Sequential(*layers), classifier=nn.Sequential(*head))


def c3d() -> nn.Module:
    """Figure 3 of Tran et al. (2015)."""
    layers, width = [], 3
    for row in (64, "first", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "last"):
        if isinstance(row, int):
            layers += [nn.Conv3d(width, row, 3, padding=1), nn.ReLU()]
            width = row
        else:
            window, padding = ((1, 2, 2), 0) if row == "first" else (2, (0, 1, 1) if row == "last" else 0)
            layers.append(nn.MaxPool3d(window, padding=padding))
    hidden = nn.Linear(8192, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()
    return _named(
        features=nn.Sequential(*layers), classifier=nn.Sequential(nn.Flatten(), *hidden, nn.Linear(4096, 101))
    )


def fcn() -> nn.Module:
    """3x3 convolutions with ReLU between them."""
    widths = 3, 32, 32, 32, 10
    layers = [
        layer
        for ins, outs in zip(widths, widths[1:], strict=False)
        for layer in (nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU())
    ]
    return _named(layers=nn.Sequential(*layers[:-1]))


class UNet(nn.Module):
    """Figure 1 of Ronneberger et al. (2015), with padding and batch norm."""

    def __init__(self):
        super().__init__()

        def twice(ins, outs):
            layers = []
            for width in (ins, outs):
                layers += [nn.Conv2d(width, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU()]
            return nn.Sequential(*layers)

        self.first = twice(3, 64)
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), twice(n, 2 * n)) for n in (64, 128, 256, 512))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, 2) for n in (512, 256, 128, 64))
        self.up = nn.ModuleList(twice(2 * n, n) for n in (512, 256, 128, 64))
        self.head = nn.Conv2d(64, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = [self.first(x)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for widen, up in zip(self.widen, self.up, strict=True):
            x = up(torch.cat([levels.pop(), widen(x)], 1))
        return self.head(x)
