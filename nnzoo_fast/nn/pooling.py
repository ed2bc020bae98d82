"""`AvgPool`, `MaxPool`, `LPPool`, `MaxUnpool`, `AdaptiveAvgPool` and `AdaptiveMaxPool` in one to three dimensions."""

from collections.abc import Callable

import torch

from nnzoo_fast.nn import dimensions, functional


class _Pool:
    _function: Callable


class _AvgPool(_Pool):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        settings = self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        return self._function(input, *settings, getattr(self, "divisor_override", None))  # AvgPool1d has none


class _MaxPool(_Pool):
    def forward(self, input: torch.Tensor):
        settings = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        return self._function(input, *settings)


class _LPPool(_Pool):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self._function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class _MaxUnpool(_Pool):
    def forward(self, input: torch.Tensor, indices: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        return self._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class _AdaptiveAvgPool(_Pool):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self._function(input, self.output_size)


class _AdaptiveMaxPool(_Pool):
    def forward(self, input: torch.Tensor):
        return self._function(input, self.output_size, self.return_indices)


def _layers(kind: str, mixin: type, function: str, summary: str = "[N, C, {space}] -> [N, C, {made}]; N is optional."):
    found = [staticmethod(getattr(functional, f"{function}{n}d")) for n in (1, 2, 3)]
    return dimensions.layers(kind, mixin, summary, _function=found)


AvgPool1d, AvgPool2d, AvgPool3d = _layers("AvgPool", _AvgPool, "avg_pool")
MaxPool1d, MaxPool2d, MaxPool3d = _layers("MaxPool", _MaxPool, "max_pool")
LPPool1d, LPPool2d, LPPool3d = _layers("LPPool", _LPPool, "lp_pool")
MaxUnpool1d, MaxUnpool2d, MaxUnpool3d = _layers(
    "MaxUnpool", _MaxUnpool, "max_unpool", "[N, C, {made}] and int64 of that shape -> [N, C, {space}]; N is optional."
)
AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d = _layers(
    "AdaptiveAvgPool", _AdaptiveAvgPool, "adaptive_avg_pool"
)
AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d = _layers(
    "AdaptiveMaxPool", _AdaptiveMaxPool, "adaptive_max_pool"
)
