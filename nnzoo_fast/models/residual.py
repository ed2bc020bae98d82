"""Residual networks: each block adds what it computes to what it was given."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar

import torch

from nnzoo_fast import nn


class BasicBlock(nn.Module):
    """relu(x + f(x)), f being two 3x3 convolutions; x passes a 1x1 convolution where the shape changes."""

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(residual + shortcut)


class Bottleneck(nn.Module):
    """relu(x + f(x)), f being a 3x3 convolution between two of 1x1, which squeeze the channels and widen them again.

    The 3x3 convolution has the stride, as in torchvision ("ResNet v1.5"); in the paper it is the first 1x1 convolution.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, channels * self.expansion, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(residual + shortcut)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class ResNet(nn.Module):
    """Residual network, by default ResNet-18: He et al., "Deep residual learning for image recognition" (2016).

    Parameters are named and, with the same seed, initialised as in torchvision's `resnet18` to `resnet152`.

    Args:
        num_classes: size of the output.
        in_channels: channels of the images.
        blocks: number of residual blocks in each stage.
        channels: channels of each stage; each stage after the first halves height and width.
        block: `BasicBlock`, or `Bottleneck` whose stages have four times these channels outside.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        blocks: Sequence[int] = (2, 2, 2, 2),
        channels: Sequence[int] = (64, 128, 256, 512),
        block: type[BasicBlock] | type[Bottleneck] = BasicBlock,
    ):
        super().__init__()
        if len(blocks) != 4 or len(channels) != 4:
            raise ValueError(f"ResNet: blocks and channels must name four stages, got {list(blocks)}, {list(channels)}")
        width, stages = channels[0], []
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for number, (size, count) in enumerate(zip(channels, blocks, strict=True)):
            stage = []
            for position in range(count):
                stage.append(block(width, size, stride=2 if number > 0 and position == 0 else 1))
                width = size * block.expansion
            stages.append(nn.Sequential(*stage))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, torch.nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, H, W] -> logits [N, num_classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


RESNETS = {
    "resnet18": functools.partial(ResNet, blocks=(2, 2, 2, 2)),
    "resnet34": functools.partial(ResNet, blocks=(3, 4, 6, 3)),
    "resnet50": functools.partial(ResNet, blocks=(3, 4, 6, 3), block=Bottleneck),
    "resnet101": functools.partial(ResNet, blocks=(3, 4, 23, 3), block=Bottleneck),
    "resnet152": functools.partial(ResNet, blocks=(3, 8, 36, 3), block=Bottleneck),
}
"""The published depths, by torchvision's names."""
