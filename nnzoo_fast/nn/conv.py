"""`Conv1d`, `Conv2d` and `Conv3d`, on `ops.conv`."""

from collections.abc import Callable

import torch
from torch.nn.functional import pad

from nnzoo_fast import ops
from nnzoo_fast.nn import functional
from nnzoo_fast.nn.drop_in import drop_in


class _Conv:
    """Mixin: pad as `padding_mode` says, then convolve with the class's own function."""

    _function: Callable

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        input, padding = self._padded(input)
        return self._function(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def activated(self, input: torch.Tensor, activation: str) -> torch.Tensor:
        """activation(forward(input)) in one kernel; `activation` is a name that `ops.conv` knows."""
        input, padding = self._padded(input)
        return ops.conv(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups, activation)

    def _padded(self, input: torch.Tensor) -> tuple[torch.Tensor, int | str | tuple[int, ...]]:
        """The input, and the zeros that it still lacks."""
        if self.padding_mode == "zeros":
            return input, self.padding
        return pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0


@drop_in(torch.nn.Conv1d)
class Conv1d(_Conv, torch.nn.Conv1d):
    """`torch.nn.Conv1d`: [N, in_channels, L] -> [N, out_channels, L_out], N being optional."""

    _function = staticmethod(functional.conv1d)


@drop_in(torch.nn.Conv2d)
class Conv2d(_Conv, torch.nn.Conv2d):
    """`torch.nn.Conv2d`: [N, in_channels, H, W] -> [N, out_channels, H_out, W_out], N being optional."""

    _function = staticmethod(functional.conv2d)


@drop_in(torch.nn.Conv3d)
class Conv3d(_Conv, torch.nn.Conv3d):
    """`torch.nn.Conv3d`: [N, in_channels, D, H, W] -> [N, out_channels, D_out, H_out, W_out], N being optional."""

    _function = staticmethod(functional.conv3d)


@drop_in(torch.nn.LazyConv1d)
class LazyConv1d(torch.nn.LazyConv1d):
    """`torch.nn.LazyConv1d`, which becomes our `Conv1d` at its first call."""

    cls_to_become = Conv1d


@drop_in(torch.nn.LazyConv2d)
class LazyConv2d(torch.nn.LazyConv2d):
    """`torch.nn.LazyConv2d`, which becomes our `Conv2d` at its first call."""

    cls_to_become = Conv2d


@drop_in(torch.nn.LazyConv3d)
class LazyConv3d(torch.nn.LazyConv3d):
    """`torch.nn.LazyConv3d`, which becomes our `Conv3d` at its first call."""

    cls_to_become = Conv3d
