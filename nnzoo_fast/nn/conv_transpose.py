"""`ConvTranspose1d`, `ConvTranspose2d` and `ConvTranspose3d`, on `ops.conv_transpose`."""

from collections.abc import Callable

import torch

from nnzoo_fast.nn import functional
from nnzoo_fast.nn.drop_in import drop_in


class _ConvTranspose:
    """Mixin: find the output padding that leads to `output_size`, then call the class's own function."""

    _function: Callable

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        if self.padding_mode != "zeros":
            raise ValueError(f"Only `zeros` padding mode is supported for {type(self).__name__}")
        output_padding = self._output_padding(
            input,
            output_size,
            self.stride,
            self.padding,
            self.kernel_size,
            len(self.kernel_size),
            self.dilation,
        )
        settings = (self.stride, self.padding, output_padding, self.groups, self.dilation)
        return self._function(input, self.weight, self.bias, *settings)


@drop_in(torch.nn.ConvTranspose1d)
class ConvTranspose1d(_ConvTranspose, torch.nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d`: [N, in_channels, L] -> [N, out_channels, L_out], N being optional."""

    _function = staticmethod(functional.conv_transpose1d)


@drop_in(torch.nn.ConvTranspose2d)
class ConvTranspose2d(_ConvTranspose, torch.nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d`: [N, in_channels, H, W] -> [N, out_channels, H_out, W_out], N being optional."""

    _function = staticmethod(functional.conv_transpose2d)


@drop_in(torch.nn.ConvTranspose3d)
class ConvTranspose3d(_ConvTranspose, torch.nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d`: [N, in_channels, D, H, W] -> [N, out_channels, D_out, H_out, W_out], N optional."""

    _function = staticmethod(functional.conv_transpose3d)


@drop_in(torch.nn.LazyConvTranspose1d)
class LazyConvTranspose1d(torch.nn.LazyConvTranspose1d):
    """`torch.nn.LazyConvTranspose1d`, which becomes our `ConvTranspose1d` at its first call."""

    cls_to_become = ConvTranspose1d


@drop_in(torch.nn.LazyConvTranspose2d)
class LazyConvTranspose2d(torch.nn.LazyConvTranspose2d):
    """`torch.nn.LazyConvTranspose2d`, which becomes our `ConvTranspose2d` at its first call."""

    cls_to_become = ConvTranspose2d


@drop_in(torch.nn.LazyConvTranspose3d)
class LazyConvTranspose3d(torch.nn.LazyConvTranspose3d):
    """`torch.nn.LazyConvTranspose3d`, which becomes our `ConvTranspose3d` at its first call."""

    cls_to_become = ConvTranspose3d
