"""`MaxPool1d` to `MaxPool3d` on `ops.max_pool`, `AvgPool1d` and `AvgPool2d` on `ops.avg_pool`."""

from collections.abc import Callable

import torch

from nnzoo_fast.nn import functional
from nnzoo_fast.nn.drop_in import drop_in


class _MaxPool:
    """Mixin: pool with the class's own function."""

    _function: Callable

    def forward(self, input: torch.Tensor):
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )


@drop_in(torch.nn.MaxPool1d)
class MaxPool1d(_MaxPool, torch.nn.MaxPool1d):
    """`torch.nn.MaxPool1d`: [N, C, L] -> [N, C, L_out], N being optional."""

    _function = staticmethod(functional.max_pool1d)


@drop_in(torch.nn.MaxPool2d)
class MaxPool2d(_MaxPool, torch.nn.MaxPool2d):
    """`torch.nn.MaxPool2d`: [N, C, H, W] -> [N, C, H_out, W_out], N being optional."""

    _function = staticmethod(functional.max_pool2d)


@drop_in(torch.nn.MaxPool3d)
class MaxPool3d(_MaxPool, torch.nn.MaxPool3d):
    """`torch.nn.MaxPool3d`: [N, C, D, H, W] -> [N, C, D_out, H_out, W_out], N being optional."""

    _function = staticmethod(functional.max_pool3d)


class _AvgPool:
    """Mixin: pool with the class's own function; `AvgPool1d` knows no divisor."""

    _function: Callable

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        settings = self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        divisor = getattr(self, "divisor_override", None)
        return self._function(input, *settings, *([] if divisor is None else [divisor]))


@drop_in(torch.nn.AvgPool1d)
class AvgPool1d(_AvgPool, torch.nn.AvgPool1d):
    """`torch.nn.AvgPool1d`: [N, C, L] -> [N, C, L_out], N being optional."""

    _function = staticmethod(functional.avg_pool1d)


@drop_in(torch.nn.AvgPool2d)
class AvgPool2d(_AvgPool, torch.nn.AvgPool2d):
    """`torch.nn.AvgPool2d`: [N, C, H, W] -> [N, C, H_out, W_out], N being optional."""

    _function = staticmethod(functional.avg_pool2d)
