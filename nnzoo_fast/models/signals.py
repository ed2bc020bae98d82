"""Convolutional networks for any number of dimensions: sound along time, images, and video or volumes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch

from nnzoo_fast import nn

Sizes = int | Sequence[int]
"""One number for all, or one for each."""


class CNN(nn.Module):
    """A classifier of sequences, images or volumes: stages of convolutions, the mean over what is left, a linear layer.

    A convolution is followed by batch norm if asked for and an activation, a stage by max-pooling. All of that stands
    in the `Sequential` `features`, dropout and the linear layer in `classifier`: its peer is the `torch.nn.Sequential`
    of the same layers. Convolutions are padded by (kernel_size - stride + 1) // 2, which keeps the size but for the
    stride.

    Args:
        dimensions: 1 (signals), 2 (images) or 3 (volumes, video).
        num_classes: size of the output.
        in_channels: channels of the input.
        channels: channels of each stage.
        convolutions: number of convolutions of each stage.
        kernel_size: of the convolutions, odd; of each stage.
        stem: kernel size and stride of the first convolution of all, where they are others.
        pool: size and stride of the max-pooling behind each stage; 1 for none.
        activation: makes the activation behind a convolution.
        batch_norm: normalise behind each convolution.
        dropout: probability of dropping a value before the last layer.

    Raises:
        ValueError: `dimensions` is not 1, 2 or 3, a `kernel_size` is even, or another number of stages is named.
    """

    def __init__(
        self,
        dimensions: int,
        num_classes: int = 10,
        in_channels: int = 1,
        channels: Sequence[int] = (32, 64, 128),
        convolutions: Sizes = 1,
        kernel_size: Sizes = 3,
        stem: tuple[int, int] | None = None,
        pool: Sizes = 2,
        activation: Callable[[], torch.nn.Module] = nn.ReLU,
        batch_norm: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        if dimensions not in (1, 2, 3):
            raise ValueError(f"CNN: dimensions must be 1, 2 or 3, got {dimensions!r}")
        counts = _each("convolutions", convolutions, channels)
        kernels, pools = _each("kernel_size", kernel_size, channels), _each("pool", pool, channels)
        if any(kernel % 2 == 0 for kernel in kernels):
            raise ValueError(f"CNN: kernel_size must be odd, got {kernel_size}")
        convolution, norm, pooling, mean = (
            getattr(nn, f"{kind}{dimensions}d") for kind in ("Conv", "BatchNorm", "MaxPool", "AdaptiveAvgPool")
        )
        layers, width = [], in_channels
        for size, count, kernel, window in zip(channels, counts, kernels, pools, strict=True):
            for _ in range(count):
                kernel_and_stride = stem if stem and not layers else (kernel, 1)
                padding = (kernel_and_stride[0] - kernel_and_stride[1] + 1) // 2
                layers.append(convolution(width, size, *kernel_and_stride, padding))
                layers += [norm(size)] if batch_norm else []
                layers.append(activation())
                width = size
            layers += [pooling(window)] if window > 1 else []
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(mean(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, L], [N, in_channels, H, W] or [N, in_channels, D, H, W] -> logits [N, num_classes]."""
        return self.classifier(self.features(x))


def _each(name: str, value: Sizes, stages: Sequence[int]) -> Sequence[int]:
    values = [value] * len(stages) if isinstance(value, int) else list(value)
    if len(values) != len(stages):
        raise ValueError(f"CNN: {name} must name {len(stages)} stages as channels does, got {values}")
    return values


_waves = functools.partial(CNN, 1, stem=(80, 4), pool=4)

WAVES = {
    "m3": functools.partial(_waves, channels=(256, 256)),
    "m5": functools.partial(_waves, channels=(128, 128, 256, 512)),
    "m11": functools.partial(
        _waves, channels=(64, 64, 128, 256, 512), convolutions=(1, 2, 2, 3, 2), pool=(4, 4, 4, 4, 1)
    ),
    "m18": functools.partial(
        _waves, channels=(64, 64, 128, 256, 512), convolutions=(1, 4, 4, 4, 4), pool=(4, 4, 4, 4, 1)
    ),
}
"""Of raw sound, 4 s at 8 kHz: Dai et al., "Very deep convolutional neural networks for raw waveforms" (2017)."""


class C3D(nn.Module):
    """C3D: Tran et al., "Learning spatiotemporal features with 3D convolutional networks" (2015).

    3x3x3 convolutions over 16 frames of 112x112. With the 101 classes of UCF101 it has 78,409,573 parameters. Its peer
    is the `torch.nn.Sequential` of the same layers.

    Args:
        num_classes: size of the output.
        in_channels: channels of the frames.
        dropout: probability of dropping a value behind each hidden layer of the classifier.
        channels: channels of each of the five stages.
        hidden_size: size of the classifier's two hidden layers.
    """

    def __init__(
        self,
        num_classes: int = 101,
        in_channels: int = 3,
        dropout: float = 0.5,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        hidden_size: int = 4096,
    ):
        super().__init__()
        if len(channels) != 5:
            raise ValueError(f"C3D: channels must name five stages, got {list(channels)}")
        layers, width = [], in_channels
        for number, size in enumerate(channels):
            for _ in range(1 if number < 2 else 2):
                layers += [nn.Conv3d(width, size, kernel_size=3, padding=1), nn.ReLU()]
                width = size
            # The first keeps all frames; the last rounds 7x7 up to 4x4.
            layers.append(nn.MaxPool3d((1, 2, 2) if number == 0 else 2, padding=(0, 1, 1) if number == 4 else 0))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width * 4 * 4, hidden_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, hidden_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, num_classes),
        )

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, 16, 112, 112] -> logits [N, num_classes]."""
        return self.classifier(self.features(video))
