"""EfficientNet: depth, width and image size grow together."""

from __future__ import annotations

import functools
import math

import torch

from nnzoo_fast import nn


def convolution(
    in_channels: int, channels: int, kernel_size: int, norm, stride: int = 1, groups: int = 1, activated: bool = True
) -> nn.Sequential:
    """Convolution, batch norm and, if `activated`, SiLU; the size stays but for the stride."""
    padding = (kernel_size - 1) // 2
    conv = nn.Conv2d(in_channels, channels, kernel_size, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, norm(channels), *([nn.SiLU(inplace=True)] if activated else []))


class SqueezeExcitation(nn.Module):
    """x * sigmoid(f(mean of x over the image)): channels weighted by what the whole image shows. Hu et al. (2018)."""

    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = nn.SiLU(inplace=True)
        self.scale_activation = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x)))))


class StochasticDepth(nn.Module):
    """In training, drops whole examples with probability `p` and scales the others by 1 / (1 - p). Huang et al. (2016).

    With the same seed the same examples go as with torchvision's `StochasticDepth(p, "row")`.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return x
        kept = x.new_empty((len(x), *[1] * (x.dim() - 1))).bernoulli_(1 - self.p)
        return x * (kept if self.p == 1 else kept.div_(1 - self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}"


class MBConv(nn.Module):
    """Inverted bottleneck: widen by 1x1, filter each channel by itself, weigh the channels, narrow by 1x1.

    x is added where the shape stays. Sandler et al., "MobileNetV2" (2018).
    """

    def __init__(self, in_channels: int, channels: int, expand: int, kernel_size: int, stride: int, drop: float, norm):
        super().__init__()
        width = _divisible(in_channels * expand)
        widen = [convolution(in_channels, width, 1, norm)] if width != in_channels else []
        self.block = nn.Sequential(
            *widen,
            convolution(width, width, kernel_size, norm, stride, groups=width),
            SqueezeExcitation(width, max(1, in_channels // 4)),
            convolution(width, channels, 1, norm, activated=False),
        )
        self.has_shortcut = stride == 1 and in_channels == channels
        self.stochastic_depth = StochasticDepth(drop)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.block(x)
        return x + self.stochastic_depth(residual) if self.has_shortcut else residual


STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Of B0, from image to classifier: expansion, kernel, stride of the first block, channels, number of blocks."""


class EfficientNet(nn.Module):
    """EfficientNet, by default B0: Tan and Le, "EfficientNet: rethinking model scaling" (2019).

    Parameters are named and, with the same seed, initialised as in torchvision's `efficientnet_b0` to `_b7`.

    Args:
        num_classes: size of the output.
        in_channels: channels of the images.
        width: factor of the channels of B0.
        depth: factor of the number of blocks of B0.
        dropout: probability of dropping a value before the last layer.
        stochastic_depth: probability of dropping the last block of an example; it rises to that from 0 at the first.
        eps: of the batch norms.
        momentum: of the batch norms.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: float = 1.0,
        depth: float = 1.0,
        dropout: float = 0.2,
        stochastic_depth: float = 0.2,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ):
        super().__init__()
        norm = functools.partial(nn.BatchNorm2d, eps=eps, momentum=momentum)
        counts = [math.ceil(count * depth) for *_, count in STAGES]
        channels = _divisible(32 * width)
        layers, done = [convolution(in_channels, channels, 3, norm, stride=2)], 0
        for (expand, kernel_size, stride, size, _), count in zip(STAGES, counts, strict=True):
            stage, size = [], _divisible(size * width)
            for position in range(count):
                drop = stochastic_depth * done / sum(counts)
                stage.append(MBConv(channels, size, expand, kernel_size, stride if position == 0 else 1, drop, norm))
                channels, done = size, done + 1
            layers.append(nn.Sequential(*stage))
        last = 4 * channels
        self.features = nn.Sequential(*layers, convolution(channels, last, 1, norm))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout, inplace=True), nn.Linear(last, num_classes))
        for module in self.modules():
            if isinstance(module, torch.nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, torch.nn.Linear):
                bound = module.out_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound)
                nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, H, W] -> logits [N, num_classes]."""
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


def _divisible(channels: float) -> int:
    """The nearest multiple of 8, at least 8, that isn't more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


_SCALES = (
    (1.0, 1.0, 0.2),
    (1.0, 1.1, 0.2),
    (1.1, 1.2, 0.3),
    (1.2, 1.4, 0.3),
    (1.4, 1.8, 0.4),
    (1.6, 2.2, 0.4),
    (1.8, 2.6, 0.5),
    (2.0, 3.1, 0.5),
)

EFFICIENTNETS = {
    f"efficientnet_b{number}": functools.partial(
        EfficientNet,
        width=width,
        depth=depth,
        dropout=dropout,
        **({"eps": 1e-3, "momentum": 0.01} if number >= 5 else {}),
    )
    for number, (width, depth, dropout) in enumerate(_SCALES)
}
"""The published sizes, by torchvision's names."""
