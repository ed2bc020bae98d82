"""`conv_transpose`: transposed convolution in one, two or three dimensions, as torch defines it."""

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.conv.arguments import (
    as_lists,
    check_least,
    check_weight_and_bias,
    dimensions_of,
    per_dimension,
)
from nnzoo_fast.ops.conv_transpose import cpu
from nnzoo_fast.ops.conv_transpose.outputs import allocate, output_size
from nnzoo_fast.ops.conv_transpose.reference import reference

__all__ = ["conv_transpose", "operation", "reference"]

_STOCK = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def conv_transpose(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """Transposed convolution of `input` with `weight`, the gradient of a convolution with respect to its input.

    The number of spatial dimensions is that of `weight`; arguments come in the order of `F.conv_transpose2d`.

    Args:
        input: [batch, in_channels, *size], or [in_channels, *size]. Channels-last memory stays channels-last.
        weight: [in_channels, out_channels / groups, *kernel].
        bias: [out_channels].
        stride: distance in the output of what neighbouring input elements write; an int stands for every dimension.
        padding: elements cut off from both ends of each dimension of the full result.
        output_padding: elements added to the end of each dimension, less than the stride or the dilation.
        groups: input and output channels are cut into so many parts that don't mix.
        dilation: distance of neighbouring taps of the kernel.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [batch, out_channels, *output] in the dtype of the arguments, with
        output = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1.

    Raises:
        TypeError: stride, padding, output_padding or dilation that are not integers.
        RuntimeError: shapes, dtypes, devices, strides, paddings or groups that don't fit together.
        BackendError: `backend` can't run this call.
    """
    call = (input, weight, bias, stride, padding, output_padding, groups, dilation)
    if operation.goes_to_stock(call, backend):
        return _STOCK[weight.dim() - 3](*call)
    if not (is_traceable(input) and is_traceable(weight)):
        return _stock_unseen(*call)
    n = dimensions_of("conv_transpose", input, weight)
    stride = per_dimension("stride", stride, n, "conv_transpose")
    padding = per_dimension("padding", padding, n, "conv_transpose")
    output_padding = per_dimension("output_padding", output_padding, n, "conv_transpose")
    dilation = per_dimension("dilation", dilation, n, "conv_transpose")
    settings = stride, padding, output_padding, groups, dilation
    if input.dim() == n + 2:
        return operation(input, weight, bias, *settings, backend=backend, call=call)
    return operation(input.unsqueeze(0), weight, bias, *settings, backend=backend, call=call).squeeze(0)


def _stock_unseen(input, weight, bias, stride, padding, output_padding, groups, dilation):
    """For fx proxies, which have no shape: the stock operator that needs no number of dimensions."""
    stride, padding, output_padding, dilation = as_lists(stride, padding, output_padding, dilation)
    return torch.convolution(input, weight, bias, stride, padding, dilation, True, output_padding, groups)


def stock(input, weight, *rest):
    return _STOCK[weight.dim() - 3](input, weight, *rest)


def check(input, weight, bias, stride, padding, output_padding, groups, dilation):
    check_least(
        "conv_transpose",
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("output_padding", output_padding, 0),
        ("dilation", dilation, 1),
    )
    if any(extra >= max(step, gap) for extra, step, gap in zip(output_padding, stride, dilation, strict=True)):
        raise RuntimeError(
            f"conv_transpose: output_padding must be less than the stride or the dilation, got {list(output_padding)} "
            f"with stride {list(stride)} and dilation {list(dilation)}"
        )
    if groups < 1 or weight.shape[0] % groups or input.shape[1] != weight.shape[0]:
        raise RuntimeError(
            f"conv_transpose: input {list(input.shape)} and weight {list(weight.shape)} don't fit groups={groups}: "
            f"expected {weight.shape[0]} input channels, divisible by groups"
        )
    check_weight_and_bias("conv_transpose", input, weight, bias, weight.shape[1] * groups)
    if input.shape[0] and min(input.shape[2:]) < 1:
        raise RuntimeError(f"conv_transpose: input {list(input.shape)} has no pixels")
    if min(output_size(input.shape[2:], weight.shape[2:], stride, padding, output_padding, dilation)) < 0:
        raise RuntimeError(
            f"conv_transpose: padding {list(padding)} takes more than input {list(input.shape)} gives with weight "
            f"{list(weight.shape)}, stride {list(stride)} and dilation {list(dilation)}"
        )


def keeps(args, needs):
    needs_input, needs_weight, _ = needs
    return (needs_weight, needs_input, False), (False,)


def flops(input, weight, bias, stride, padding, output_padding, groups, dilation):
    per_pixel = 2
    for size in weight:
        per_pixel *= size
    for size in input[2:]:
        per_pixel *= size
    return input[0] * per_pixel


operation = Operation(
    "conv_transpose",
    "Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] output_padding, int groups, "
    "int[] dilation",
    ("output",),
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    autocast="lower",
    flops=flops,
)
