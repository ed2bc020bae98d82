"""`Conv1d`, `Conv2d` and `Conv3d`, on `ops.conv`."""

from collections.abc import Callable

import torch
from torch.nn.functional import pad

from nnzoo_fast import ops
from nnzoo_fast.nn import dimensions, functional


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


class _LazyConv:
    cls_to_become: type


Conv1d, Conv2d, Conv3d = dimensions.layers(
    "Conv",
    _Conv,
    "[N, in_channels, {space}] -> [N, out_channels, {made}]; N is optional.",
    _function=[staticmethod(function) for function in (functional.conv1d, functional.conv2d, functional.conv3d)],
)

LazyConv1d, LazyConv2d, LazyConv3d = dimensions.layers(
    "LazyConv", _LazyConv, "becomes our `Conv{n}d` at its first call.", cls_to_become=[Conv1d, Conv2d, Conv3d]
)
