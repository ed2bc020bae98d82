"""`conv`: convolution in one, two or three dimensions, as torch defines it (cross-correlation)."""

import torch
import torch.nn.functional as F

from nnzoo_fast import _compat
from nnzoo_fast.activations import activate_stock, check_activation
from nnzoo_fast.backends import Backend
from nnzoo_fast.cuda_support import cuda_rows
from nnzoo_fast.front_door import is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.conv import cpu
from nnzoo_fast.ops.conv.arguments import (
    as_lists,
    check_least,
    check_weight_and_bias,
    dimensions_of,
    per_dimension,
    resolve_padding,
)
from nnzoo_fast.ops.conv.outputs import allocate, keeps, output_size
from nnzoo_fast.ops.conv.reference import pads_from_last_dimension, reference
from nnzoo_fast.triton_support import triton_row

__all__ = ["conv", "operation", "reference"]

_STOCK = (F.conv1d, F.conv2d, F.conv3d)


def conv(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    activation: str = "none",
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """activation(convolution of `input` with `weight`); the number of spatial dimensions is that of `weight`.

    Args:
        input: [batch, in_channels, *size], or [in_channels, *size]. Channels-last memory stays channels-last.
        weight: [out_channels, in_channels / groups, *kernel].
        bias: [out_channels].
        stride: distance of neighbouring windows; an int stands for every dimension.
        padding: zeros before and after each dimension, "valid" (none) or "same" (output size = input size, stride 1).
        dilation: distance of neighbouring taps of the kernel.
        groups: input and output channels are cut into so many parts that don't mix.
        activation: "none", "relu", "gelu", "gelu_tanh", "silu", "tanh" or "sigmoid".
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [batch, out_channels, *output] in the dtype of the arguments, with
        output = floor((size + padding before and after - dilation * (kernel - 1) - 1) / stride) + 1.

    Raises:
        TypeError: stride, padding or dilation that are not integers.
        ValueError: an unknown activation.
        RuntimeError: shapes, dtypes, devices, strides, paddings or groups that don't fit together.
        BackendError: `backend` can't run this call.
    """
    call = (input, weight, bias, stride, padding, dilation, groups, activation)
    if operation.goes_to_stock(call, backend):
        return activate_stock(activation, _STOCK[weight.dim() - 3](*call[:-1]))
    check_activation("conv", activation)
    if not (is_traceable(input) and is_traceable(weight)):
        return activate_stock(activation, _stock_unseen(*call[:-1]))
    n = dimensions_of("conv", input, weight)
    stride, dilation = per_dimension("stride", stride, n), per_dimension("dilation", dilation, n)
    padding = resolve_padding(padding, weight.shape[2:], stride, dilation)
    settings = stride, padding, dilation, groups, activation
    if input.dim() == n + 2:
        return operation(input, weight, bias, *settings, backend=backend, call=call)
    return operation(input.unsqueeze(0), weight, bias, *settings, backend=backend, call=call).squeeze(0)


def _stock_unseen(input, weight, bias, stride, padding, dilation, groups):
    """For fx proxies, which have no shape: the stock operator that needs no number of dimensions."""
    if isinstance(padding, str):
        stride, dilation = as_lists(stride, dilation)
        return _compat.convolution_with_mode(input, weight, bias, stride, padding, dilation, groups)
    return torch.convolution(input, weight, bias, *as_lists(stride, padding, dilation), False, [0], groups)


def stock(input, weight, bias, stride, padding, dilation, groups, activation="none"):
    function = _STOCK[weight.dim() - 3]
    begin, end = padding[::2], padding[1::2]
    if begin != end:  # torch pads both ends alike, apart from "same"
        input, begin = F.pad(input, pads_from_last_dimension(padding)), [0] * len(begin)
    return activate_stock(activation, function(input, weight, bias, stride, begin, dilation, groups))


def check(input, weight, bias, stride, padding, dilation, groups, activation):
    check_least("conv", ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1))
    if groups < 1 or weight.shape[0] % groups or input.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(
            f"conv: input {list(input.shape)} and weight {list(weight.shape)} don't fit groups={groups}: expected "
            f"{weight.shape[1] * groups} input channels, and output channels divisible by groups"
        )
    check_weight_and_bias("conv", input, weight, bias, weight.shape[0])
    size = output_size(input, weight, stride, padding, dilation)
    if min(size) < 1:
        raise RuntimeError(
            f"conv: input {list(input.shape)} with padding {list(padding)} is smaller than the kernel of weight "
            f"{list(weight.shape)} with dilation {list(dilation)}"
        )


def flops(input, weight, bias, stride, padding, dilation, groups, activation="none"):
    pixels = 1
    for i in range(len(weight) - 2):
        span = dilation[i] * (weight[2 + i] - 1) + 1
        pixels *= (input[2 + i] + padding[2 * i] + padding[2 * i + 1] - span) // stride[i] + 1
    per_pixel = 2
    for size in weight:
        per_pixel *= size
    return input[0] * pixels * per_pixel


operation = Operation(
    "conv",
    "Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] dilation, int groups, "
    "str activation",
    ("output", "preactivation"),
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(
        Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),
        *cuda_rows("nnzoo_fast.ops.conv.cuda", "naive", "tiled"),
        triton_row("nnzoo_fast.ops.conv.triton_kernels"),
    ),
    check=check,
    keeps=keeps,
    autocast="lower",
    flops=flops,
)
