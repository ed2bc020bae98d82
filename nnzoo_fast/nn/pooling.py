"""`AvgPool`, `MaxPool`, `LPPool`, `MaxUnpool`, `AdaptiveAvgPool` and `AdaptiveMaxPool` in one to three dimensions."""

import inspect
from collections.abc import Callable

import torch

from nnzoo_fast.nn import functional_pooling as functional
from nnzoo_fast.nn.drop_in import drop_in


def in_each_dimension(kind: str, function: str, forward: Callable, summary: str) -> list[type[torch.nn.Module]]:
    """The drop-ins for torch.nn's `kind`1d, 2d and 3d.

    Their `forward` calls `self._function`, the `function` of as many dimensions. In `summary`, {space} stands for the
    sizes of an image and {made} for those of what comes of it.
    """
    return [_layer(n, kind, function, forward, summary) for n in (1, 2, 3)]


def _layer(n: int, kind: str, function: str, forward: Callable, summary: str) -> type[torch.nn.Module]:
    stock = getattr(torch.nn, f"{kind}{n}d")
    space = functional.SPACES[n - 1]
    made = ", ".join(f"{size}_out" for size in space.split(", "))
    parameters = list(inspect.signature(stock.__init__).parameters.values())[1:]
    takes = ", ".join(str(one.replace(annotation=one.empty)) for one in parameters)
    summary = summary.format(space=space, made=made)
    members = {
        "__doc__": f"`torch.nn.{stock.__name__}({takes})`:\n\n{summary}; N is optional.",
        "__module__": __name__,
        "_function": staticmethod(getattr(functional, f"{function}{n}d")),
        "forward": forward,
    }
    return drop_in(stock)(type(stock.__name__, (stock,), members))


def _avg_pool(self, input: torch.Tensor) -> torch.Tensor:
    settings = self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
    return self._function(input, *settings, getattr(self, "divisor_override", None))  # AvgPool1d has none


def _max_pool(self, input: torch.Tensor):
    settings = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
    return self._function(input, *settings)


def _lp_pool(self, input: torch.Tensor) -> torch.Tensor:
    return self._function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


def _max_unpool(self, input: torch.Tensor, indices: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
    return self._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)


def _adaptive_avg_pool(self, input: torch.Tensor) -> torch.Tensor:
    return self._function(input, self.output_size)


def _adaptive_max_pool(self, input: torch.Tensor):
    return self._function(input, self.output_size, self.return_indices)


_POOLS = "[N, C, {space}] -> [N, C, {made}]"
_UNPOOLS = "[N, C, {made}] and int64 of that shape -> [N, C, {space}]"

AvgPool1d, AvgPool2d, AvgPool3d = in_each_dimension("AvgPool", "avg_pool", _avg_pool, _POOLS)
MaxPool1d, MaxPool2d, MaxPool3d = in_each_dimension("MaxPool", "max_pool", _max_pool, _POOLS)
LPPool1d, LPPool2d, LPPool3d = in_each_dimension("LPPool", "lp_pool", _lp_pool, _POOLS)
MaxUnpool1d, MaxUnpool2d, MaxUnpool3d = in_each_dimension("MaxUnpool", "max_unpool", _max_unpool, _UNPOOLS)
AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d = in_each_dimension(
    "AdaptiveAvgPool", "adaptive_avg_pool", _adaptive_avg_pool, _POOLS
)
AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d = in_each_dimension(
    "AdaptiveMaxPool", "adaptive_max_pool", _adaptive_max_pool, _POOLS
)

LAYERS = [name for name in globals() if name.endswith(("1d", "2d", "3d"))]
