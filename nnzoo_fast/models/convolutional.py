"""Convolutional networks: one small filter slides over the whole image."""

from __future__ import annotations

import functools
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


class AlexNet(nn.Module):
    """AlexNet on one device: Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014).

    Parameters are named and, with the same seed, initialised as in torchvision's `alexnet`. The network of 2012 had
    local response normalisation, and two groups of channels where each of its two GPUs saw half of them.

    Args:
        num_classes: size of the output.
        in_channels: channels of the images, which are at least 63x63.
        dropout: probability of dropping a value before each hidden layer of the classifier.
        hidden_size: size of the classifier's two hidden layers.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, hidden_size: int = 4096):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, hidden_size),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, hidden_size),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_size, num_classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, H, W] -> logits [N, num_classes]."""
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


class VGG(nn.Module):
    """VGG, by default VGG-16: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image
    recognition" (2015).

    Parameters are named and, with the same seed, initialised as in torchvision's `vgg11` to `vgg19_bn`.

    Args:
        num_classes: size of the output.
        in_channels: channels of the images, which are at least 32x32.
        convolutions: number of 3x3 convolutions in each stage; a max-pooling ends each.
        batch_norm: normalise behind each convolution.
        dropout: probability of dropping a value behind each hidden layer of the classifier.
        channels: channels of each stage.
        hidden_size: size of the classifier's two hidden layers.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        convolutions: Sequence[int] = (2, 2, 3, 3, 3),
        batch_norm: bool = False,
        dropout: float = 0.5,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        hidden_size: int = 4096,
    ):
        super().__init__()
        if len(convolutions) != len(channels):
            raise ValueError(
                f"VGG: convolutions and channels must name as many stages, got {list(convolutions)}, {list(channels)}"
            )
        layers, width = [], in_channels
        for count, size in zip(convolutions, channels, strict=True):
            for _ in range(count):
                layers.append(nn.Conv2d(width, size, kernel_size=3, padding=1))
                layers += [nn.BatchNorm2d(size)] if batch_norm else []
                layers.append(nn.ReLU(inplace=True))
                width = size
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(width * 7 * 7, hidden_size),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, hidden_size),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, num_classes),
        )
        for module in self.modules():
            if isinstance(module, torch.nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)
            elif isinstance(module, torch.nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, H, W] -> logits [N, num_classes]."""
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


_VGG_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

VGGS = {
    f"vgg{depth}{'_bn' if batch_norm else ''}": functools.partial(VGG, convolutions=counts, batch_norm=batch_norm)
    for depth, counts in _VGG_DEPTHS.items()
    for batch_norm in (False, True)
}
"""The published depths, by torchvision's names."""
