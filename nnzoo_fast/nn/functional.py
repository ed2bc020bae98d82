"""torch.nn.functional with our operations in place of the functions that are here, signature for signature."""

from collections.abc import Callable

import torch
import torch.nn.functional as stock

from nnzoo_fast import ops
from nnzoo_fast.front_door import is_traceable
from nnzoo_fast.nn import dimensions, functional_elementwise, functional_pooling
from nnzoo_fast.nn.functional_elementwise import *  # noqa: F403
from nnzoo_fast.nn.functional_pooling import *  # noqa: F403
from nnzoo_fast.ops.attention import scaled_dot_product_attention
from nnzoo_fast.ops.batch_norm import batch_norm
from nnzoo_fast.ops.group_norm import group_norm
from nnzoo_fast.ops.instance_norm import instance_norm
from nnzoo_fast.ops.layer_norm import layer_norm
from nnzoo_fast.ops.rms_norm import rms_norm

__all__ = [
    *functional_elementwise.__all__,
    *functional_pooling.__all__,
    "batch_norm",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "embedding",
    "embedding_bag",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "linear",
    "log_softmax",
    "rms_norm",
    "scaled_dot_product_attention",
    "softmax",
]


Size = int | tuple[int, ...]


def _conv(
    n: int,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """`torch.nn.functional.conv{n}d`: input [N, C, {space}], weight [out_channels, C / groups, *kernel]."""
    call = input, weight, bias, stride, padding, dilation, groups
    return _of_dimensions(ops.conv, n, call)


def _conv_transpose(
    n: int,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> torch.Tensor:
    """`torch.nn.functional.conv_transpose{n}d`: input [N, C, {space}], weight [C, out_channels / groups, *kernel]."""
    call = input, weight, bias, stride, padding, output_padding, groups, dilation
    return _of_dimensions(ops.conv_transpose, n, call)


def _of_dimensions(operation: Callable, n: int, call: tuple) -> torch.Tensor:
    """`operation`, which learns from weight how many dimensions there are, where weight has n of them."""
    input, weight, *_ = call
    if not (is_traceable(input) and is_traceable(weight)):
        return getattr(stock, f"{operation.__name__}{n}d")(*call)
    if weight.dim() != n + 2:
        name = f"{operation.__name__}{n}d"
        raise RuntimeError(f"{name}: weight must have {n + 2} dimensions, got {list(weight.shape)}")
    return operation(*call)


conv1d, conv2d, conv3d = dimensions.functions(_conv)
conv_transpose1d, conv_transpose2d, conv_transpose3d = dimensions.functions(_conv_transpose)


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


def embedding_bag(
    input: torch.Tensor,
    weight: torch.Tensor,
    offsets: torch.Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: torch.Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> torch.Tensor:
    """`torch.nn.functional.embedding_bag`: input integer [B, N], or [E] with offsets [B] -> [B, features]."""
    options = scale_grad_by_freq, mode, sparse, per_sample_weights, include_last_offset, padding_idx
    return ops.embedding_bag(input, weight, offsets, max_norm, norm_type, *options)


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
