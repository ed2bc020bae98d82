"""Convolutional networks: one small filter slides over the whole image."""

from collections.abc import Sequence

import torch

from nnzoo_fast import nn


class LeNet(nn.Module):
    """LeNet-5: LeCun et al., "Gradient-based learning applied to document recognition" (1998); ReLU and max-pooling.

    Args:
        num_classes: size of the output.
        in_channels: channels of the images.
        image_size: height and width of the images, at least 12.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28):
        super().__init__()
        size = (image_size // 2 - 4) // 2
        if size < 1:
            raise ValueError(f"LeNet: image_size must be at least 12, got {image_size}")
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * size * size, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, image_size, image_size] -> logits [N, num_classes]."""
        return self.classifier(self.features(images))


class BasicBlock(nn.Module):
    """relu(x + f(x)), f being two 3x3 convolutions; x passes a 1x1 convolution where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(residual + shortcut)


class ResNet(nn.Module):
    """Residual network, by default ResNet-18: He et al., "Deep residual learning for image recognition" (2016).

    Parameters are named and, with the same seed, initialised as in torchvision's `resnet18`.

    Args:
        num_classes: size of the output.
        in_channels: channels of the images.
        blocks: number of residual blocks in each stage.
        channels: channels of each stage; each stage after the first halves height and width.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        blocks: Sequence[int] = (2, 2, 2, 2),
        channels: Sequence[int] = (64, 128, 256, 512),
    ):
        super().__init__()
        if len(blocks) != 4 or len(channels) != 4:
            raise ValueError(f"ResNet: blocks and channels must name four stages, got {list(blocks)}, {list(channels)}")
        self.conv1 = nn.Conv2d(in_channels, channels[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(channels[0], channels[0], blocks[0], stride=1)
        self.layer2 = _stage(channels[0], channels[1], blocks[1], stride=2)
        self.layer3 = _stage(channels[1], channels[2], blocks[2], stride=2)
        self.layer4 = _stage(channels[2], channels[3], blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels[3], num_classes)
        for module in self.modules():
            if isinstance(module, torch.nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, H, W] -> logits [N, num_classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))
