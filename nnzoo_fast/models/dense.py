"""Networks that answer for every pixel: fully convolutional networks and the U-Net."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nnzoo_fast import nn


class FCN(nn.Module):
    """Fully convolutional network: 3x3 convolutions with ReLU between them, and no layer that knows the image's size.

    Long et al., "Fully convolutional networks for semantic segmentation" (2015), without pooling: what it learns on
    32x32 holds on 256x256. A result depends on the pixels at most `margin` away from it.

    Args:
        num_classes: channels of the output.
        in_channels: channels of the images.
        channels: channels of each hidden layer.
        dilations: distance of a filter's taps, for each layer and the last; by default 1.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        channels: Sequence[int] = (32, 32, 32),
        dilations: Sequence[int] | None = None,
    ):
        super().__init__()
        sizes = [in_channels, *channels, num_classes]
        dilations = [1] * (len(sizes) - 1) if dilations is None else list(dilations)
        if len(dilations) != len(sizes) - 1:
            raise ValueError(f"FCN: dilations must name {len(sizes) - 1} layers, got {dilations}")
        self.margin = sum(dilations)
        layers = []
        for size, next_size, dilation in zip(sizes, sizes[1:], dilations, strict=False):
            layers += [nn.Conv2d(size, next_size, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, H, W] -> logits [N, num_classes, H, W]."""
        return self.layers(images)


class UNet(nn.Module):
    """U-Net: Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation" (2015).

    Two 3x3 convolutions at each of several sizes, down and up again; on the way up, beside what was there on the way
    down. Convolutions are padded, so that the output is as large as the image (in the paper it shrinks), and have no
    bias, since a batch norm follows each.

    Args:
        num_classes: channels of the output.
        in_channels: channels of the images, whose height and width are multiples of 2^(len(channels) - 1).
        channels: channels at each size, from the image's down.
    """

    def __init__(self, num_classes: int = 2, in_channels: int = 3, channels: Sequence[int] = (64, 128, 256, 512, 1024)):
        super().__init__()
        if len(channels) < 2:
            raise ValueError(f"UNet: channels must name at least two sizes, got {list(channels)}")
        pairs = list(zip(channels, channels[1:], strict=False))
        self.first = _twice(in_channels, channels[0])
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), _twice(high, low)) for high, low in pairs)
        self.widen = nn.ModuleList(nn.ConvTranspose2d(low, high, 2, stride=2) for high, low in reversed(pairs))
        self.up = nn.ModuleList(_twice(2 * high, high) for high, _ in reversed(pairs))
        self.head = nn.Conv2d(channels[0], num_classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, H, W] -> logits [N, num_classes, H, W]."""
        least = 2 ** len(self.down)
        if images.shape[-2] % least or images.shape[-1] % least:
            height, width = images.shape[-2:]
            raise ValueError(f"UNet: images are {height}x{width}, expected multiples of {least}")
        x, passed = self.first(images), []
        for down in self.down:
            passed.append(x)
            x = down(x)
        for widen, up in zip(self.widen, self.up, strict=True):
            x = up(torch.cat([passed.pop(), widen(x)], dim=1))
        return self.head(x)


def _twice(in_channels: int, channels: int) -> nn.Sequential:
    layers = []
    for size in (in_channels, channels):
        layers += [nn.Conv2d(size, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
