"""NASNet-A: two cells found by a search, stacked."""

from __future__ import annotations

import functools
from collections import OrderedDict

import torch
from torch.nn.functional import pad

from nnzoo_fast import nn

PREVIOUS, CURRENT, *SUMS = range(7)
"""What a cell may add up: its two inputs, and the sums that it has made so far."""

NORMAL = (
    ("separable5", CURRENT, "separable3", PREVIOUS),
    ("separable5", PREVIOUS, "separable3", PREVIOUS),
    ("mean", CURRENT, "same", PREVIOUS),
    ("mean", PREVIOUS, "mean", PREVIOUS),
    ("separable3", CURRENT, "same", CURRENT),
)
REDUCTION = (
    ("separable5/2", CURRENT, "separable7/2", PREVIOUS),
    ("maximum/2", CURRENT, "separable7/2", PREVIOUS),
    ("mean/2", CURRENT, "separable5/2", PREVIOUS),
    ("same", SUMS[1], "mean", SUMS[0]),
    ("separable3", SUMS[0], "maximum/2", CURRENT),
)
"""The five sums of a cell, each of two branches: what is done, and to what. "/2" halves height and width."""

_norm = functools.partial(nn.BatchNorm2d, eps=0.001)


def pad_like_tensorflow(x: torch.Tensor, kernel_size: int, stride: int, value: float = 0.0) -> torch.Tensor:
    """TensorFlow's "SAME": ceil(size / stride) windows fit; of an odd number of values, one more stands at the end."""
    sides = []
    for size in (x.shape[-1], x.shape[-2]):
        missing = max((-(-size // stride) - 1) * stride + kernel_size - size, 0)
        sides += [missing // 2, missing - missing // 2]
    return pad(x, sides, value=value)


class Pool(nn.Module):
    """Mean or maximum of 3x3 windows. As in timm, means at stride 1 leave the padding out, others count its zeros."""

    def __init__(self, kind: str, stride: int):
        super().__init__()
        self.stride, self.value = stride, 0.0 if kind == "mean" else float("-inf")
        if kind == "maximum":
            self.pool = nn.MaxPool2d(3, stride)
        elif stride == 1:
            self.pool = nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
        else:
            self.pool = nn.AvgPool2d(3, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(x if self.stride == 1 else pad_like_tensorflow(x, 3, self.stride, self.value))


class SeparableConv2d(nn.Module):
    """A filter for each channel, then a 1x1 convolution that mixes them."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int, stride: int):
        super().__init__()
        padding = kernel_size // 2 if stride == 1 else 0
        self.depthwise_conv2d = nn.Conv2d(
            in_channels, in_channels, kernel_size, stride, padding, groups=in_channels, bias=False
        )
        self.pointwise_conv2d = nn.Conv2d(in_channels, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (stride, _), (kernel_size, _) = self.depthwise_conv2d.stride, self.depthwise_conv2d.kernel_size
        x = x if stride == 1 else pad_like_tensorflow(x, kernel_size, stride)
        return self.pointwise_conv2d(self.depthwise_conv2d(x))


class Separable(nn.Module):
    """ReLU, separable convolution and batch norm, twice; the first changes the size, the number of channels too if
    `widen_first`."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int, stride: int, widen_first: bool):
        super().__init__()
        middle = channels if widen_first else in_channels
        self.separable_1 = SeparableConv2d(in_channels, middle, kernel_size, stride)
        self.bn_sep_1 = _norm(middle)
        self.separable_2 = SeparableConv2d(middle, channels, kernel_size, 1)
        self.bn_sep_2 = _norm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn_sep_1(self.separable_1(x.relu()))
        return self.bn_sep_2(self.separable_2(x.relu()))


class Project(nn.Module):
    """ReLU, 1x1 convolution, batch norm."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn = _norm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x.relu()))


class Cell(nn.Module):
    """Sums of two branches each of `PREVIOUS` and `CURRENT`, which 1x1 convolutions have brought to `channels`.

    Args:
        sums: `NORMAL` or `REDUCTION`.
        previous: channels of the output of the cell before the last.
        current: channels of the output of the last cell.
        channels: channels of every sum.
        halve: the previous output is twice as high and wide: every second pixel of it, beside those in between.
        raw: the previous output is taken as it is.
    """

    def __init__(self, sums, previous: int, current: int, channels: int, halve: bool = False, raw: bool = False):
        super().__init__()
        self.sums = sums
        if not (halve or raw):
            self.conv_prev_1x1 = Project(previous, channels)
        self.conv_1x1 = Project(current, channels)
        if halve:
            for path in ("path_1", "path_2"):
                conv = nn.Conv2d(previous, channels // 2, 1, bias=False)
                setattr(self, path, nn.Sequential(OrderedDict(conv=conv)))
            self.final_path_bn = _norm(channels // 2 * 2)
        for number, (left, left_of, right, right_of) in enumerate(sums):
            for side, branch, source in (("left", left, left_of), ("right", right, right_of)):
                widen = raw and source == PREVIOUS
                if branch != "same":
                    made = _branch(branch, previous if widen else channels, channels, widen)
                    setattr(self, f"comb_iter_{number}_{side}", made)

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.conv_1x1.bn.num_features * (4 if self.sums is REDUCTION else 6)

    def forward(self, current: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        values = [self._prepared(previous), self.conv_1x1(current)]
        for number, (left, left_of, right, right_of) in enumerate(self.sums):
            sides = ((f"comb_iter_{number}_left", left, left_of), (f"comb_iter_{number}_right", right, right_of))
            first, second = (
                values[of] if branch == "same" else getattr(self, name)(values[of]) for name, branch, of in sides
            )
            values.append(first + second)
        kept = values[3:] if self.sums is REDUCTION else [values[PREVIOUS], *values[2:]]
        return torch.cat(kept, dim=1)

    def _prepared(self, previous: torch.Tensor) -> torch.Tensor:
        if hasattr(self, "conv_prev_1x1"):
            return self.conv_prev_1x1(previous)
        if not hasattr(self, "path_1"):
            return previous
        x = previous.relu()
        even, odd = x[..., ::2, ::2], x[..., 1::2, 1::2]
        odd = pad(odd, (0, even.shape[-1] - odd.shape[-1], 0, even.shape[-2] - odd.shape[-2]))
        return self.final_path_bn(torch.cat([self.path_1(even), self.path_2(odd)], dim=1))


def _branch(branch: str, in_channels: int, channels: int, widen_first: bool) -> nn.Module:
    name, _, stride = branch.partition("/")
    stride = int(stride or 1)
    if name.startswith("separable"):
        return Separable(in_channels, channels, int(name[-1]), stride, widen_first)
    return Pool(name, stride)


class NASNet(nn.Module):
    """NASNet-A, by default the large one, "6 @ 4032": Zoph et al., "Learning transferable architectures for scalable
    image recognition" (2018). 88,753,150 parameters.

    Parameters are named and, with the same seed, initialised as in timm's `nasnetalarge`. The paper's training also
    drops whole branches (ScheduledDropPath); like timm's, this model doesn't.

    Args:
        num_classes: size of the output.
        in_channels: channels of the images.
        stem_size: channels of the first convolution.
        num_features: channels behind the last cell, a multiple of 96.
        cells: number of normal cells in each of the three stages.
        skip_reduction: the cell behind a reduction takes, as the previous output, that of the cell two before the
            reduction (the large network), not one before (the mobile one).
        dropout: probability of dropping a value before the last layer.

    Raises:
        ValueError: `num_features` is no multiple of 96, or there are no cells.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem_size: int = 96,
        num_features: int = 4032,
        cells: int = 6,
        skip_reduction: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        if num_features % 96 or num_features < 96:
            raise ValueError(f"NASNet: num_features must be a multiple of 96, got {num_features}")
        if cells < 2:
            raise ValueError(f"NASNet: cells must be at least 2, got {cells}")
        channels = num_features // 24
        self.cells, self.skip_reduction = cells, skip_reduction
        self.conv0 = nn.Sequential(
            OrderedDict(conv=nn.Conv2d(in_channels, stem_size, 3, stride=2, bias=False), bn=_norm(stem_size))
        )
        self.cell_stem_0 = Cell(REDUCTION, stem_size, stem_size, channels // 4, raw=True)
        self.cell_stem_1 = Cell(REDUCTION, stem_size, channels, channels // 2, halve=True)
        previous, current = channels, 2 * channels
        for stage in range(3):
            size = channels * 2**stage
            if stage > 0:
                reduction = Cell(REDUCTION, current, current, size)
                setattr(self, f"reduction_cell_{stage - 1}", reduction)
                previous, current = current, reduction.out_channels
            for number in range(cells):
                cell = Cell(NORMAL, previous, current, size, halve=number == 0)
                setattr(self, f"cell_{_number(stage, number, cells)}", cell)
                previous, current = current, cell.out_channels
        self.act = nn.ReLU()
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.head_drop = nn.Dropout(dropout)
        self.last_linear = nn.Linear(num_features, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, H, W], H and W at least 33, 331 in the paper -> logits [N, num_classes]."""
        x = self.conv0(images)
        outputs = [x, self.cell_stem_0(x, x)]
        outputs.append(self.cell_stem_1(outputs[1], x))
        for stage in range(3):
            before = outputs[-2]
            if stage > 0:
                outputs.append(getattr(self, f"reduction_cell_{stage - 1}")(outputs[-1], outputs[-2]))
            for number in range(self.cells):
                skip = number == 0 and self.skip_reduction
                cell = getattr(self, f"cell_{_number(stage, number, self.cells)}")
                outputs.append(cell(outputs[-1], before if skip else outputs[-2]))
                del outputs[:-2]
        x = self.global_pool(self.act(outputs[-1])).flatten(1)
        return self.last_linear(self.head_drop(x))


def _number(stage: int, number: int, cells: int) -> int:
    """Stages are counted in sixes, as in the large network: smaller ones leave numbers out."""
    return stage * max(cells, 6) + number


NASNETS = {
    "nasnetalarge": NASNet,
    "nasnetamobile": functools.partial(NASNet, stem_size=32, num_features=1056, cells=4, skip_reduction=False),
}
"""The published sizes, by timm's and Cadene's names: 4032 features at 331x331, 1056 at 224x224."""
