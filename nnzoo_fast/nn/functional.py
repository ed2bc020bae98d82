"""torch.nn.functional with our operations in place of the functions that are here, signature for signature."""

from collections.abc import Callable

import torch
import torch.nn.functional as stock

from nnzoo_fast import ops
from nnzoo_fast.front_door import is_traceable
from nnzoo_fast.nn import functional_pooling
from nnzoo_fast.nn.functional_pooling import *  # noqa: F403
from nnzoo_fast.ops.attention import scaled_dot_product_attention
from nnzoo_fast.ops.group_norm import group_norm
from nnzoo_fast.ops.layer_norm import layer_norm
from nnzoo_fast.ops.rms_norm import rms_norm

__all__ = [
    *functional_pooling.__all__,
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "embedding",
    "group_norm",
    "layer_norm",
    "linear",
    "log_softmax",
    "rms_norm",
    "scaled_dot_product_attention",
    "softmax",
]


Size = int | tuple[int, ...]


def conv1d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """`torch.nn.functional.conv1d`: input [N, C, L], weight [out_channels, C / groups, kernel]."""
    return _conv(stock.conv1d, 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """`torch.nn.functional.conv2d`: input [N, C, H, W], weight [out_channels, C / groups, *kernel]."""
    return _conv(stock.conv2d, 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """`torch.nn.functional.conv3d`: input [N, C, D, H, W], weight [out_channels, C / groups, *kernel]."""
    return _conv(stock.conv3d, 3, input, weight, bias, stride, padding, dilation, groups)


def _conv(function: Callable, dimensions: int, input: torch.Tensor, weight: torch.Tensor, *rest) -> torch.Tensor:
    if not (is_traceable(input) and is_traceable(weight)):
        return function(input, weight, *rest)
    if weight.dim() != dimensions + 2:
        raise RuntimeError(f"conv{dimensions}d: weight must have {dimensions + 2} dimensions, got {list(weight.shape)}")
    return ops.conv(input, weight, *rest)


def conv_transpose1d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> torch.Tensor:
    """`torch.nn.functional.conv_transpose1d`: input [N, C, L], weight [C, out_channels / groups, *kernel]."""
    rest = (bias, stride, padding, output_padding, groups, dilation)
    return _conv_transpose(stock.conv_transpose1d, 1, input, weight, *rest)


def conv_transpose2d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> torch.Tensor:
    """`torch.nn.functional.conv_transpose2d`: input [N, C, H, W], weight [C, out_channels / groups, *kernel]."""
    rest = (bias, stride, padding, output_padding, groups, dilation)
    return _conv_transpose(stock.conv_transpose2d, 2, input, weight, *rest)


def conv_transpose3d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> torch.Tensor:
    """`torch.nn.functional.conv_transpose3d`: input [N, C, D, H, W], weight [C, out_channels / groups, *kernel]."""
    rest = (bias, stride, padding, output_padding, groups, dilation)
    return _conv_transpose(stock.conv_transpose3d, 3, input, weight, *rest)


def _conv_transpose(function: Callable, dimensions: int, input: torch.Tensor, weight: torch.Tensor, *rest):
    if not (is_traceable(input) and is_traceable(weight)):
        return function(input, weight, *rest)
    if weight.dim() != dimensions + 2:
        raise RuntimeError(
            f"conv_transpose{dimensions}d: weight must have {dimensions + 2} dimensions, got {list(weight.shape)}"
        )
    return ops.conv_transpose(input, weight, *rest)


def embedding(
    input: torch.Tensor,
    weight: torch.Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> torch.Tensor:
    """`torch.nn.functional.embedding`: input integer [*], weight [rows, features] -> [*, features]."""
    return ops.embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)


def linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`torch.nn.functional.linear`: input [*, in_features], weight [out_features, in_features] or [in_features]."""
    if is_traceable(weight) and weight.dim() == 1:
        return stock.linear(input, weight, bias)
    return ops.linear(input, weight, bias)


def softmax(
    input: torch.Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """`torch.nn.functional.softmax`: any shape, along `dim`."""
    if dim is None:
        return stock.softmax(input, dim, _stacklevel + 1, dtype)
    return ops.softmax(input, dim, dtype)


def log_softmax(
    input: torch.Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """`torch.nn.functional.log_softmax`: any shape, along `dim`."""
    if dim is None:
        return stock.log_softmax(input, dim, _stacklevel + 1, dtype)
    return ops.log_softmax(input, dim, dtype)


def cross_entropy(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """`torch.nn.functional.cross_entropy`: input [N, C, *size], target [N, *size] or like input."""
    if size_average is not None or reduce is not None:
        old = size_average, ignore_index, reduce
        return stock.cross_entropy(input, target, weight, *old, reduction, label_smoothing)
    return ops.cross_entropy(input, target, weight, reduction, ignore_index, label_smoothing)


def __getattr__(name: str):
    try:
        return getattr(stock, name)
    except AttributeError:
        raise AttributeError(f"neither {__name__} nor torch.nn.functional has an attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(stock)})
