"""`conv_transpose`: transposed convolution in one, two or three dimensions, as torch defines it."""

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.conv.arguments import per_dimension
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
    n = weight.dim() - 2
    if n not in (1, 2, 3):
        raise RuntimeError(f"conv_transpose: weight must have 3 to 5 dimensions, got {list(weight.shape)}")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"conv_transpose: input {list(input.shape)} must have {n + 1} or {n + 2} dimensions, as weight has {n + 2}"
        )
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
    stride, padding, output_padding, dilation = (
        [value] if isinstance(value, int) else list(value) for value in (stride, padding, output_padding, dilation)
    )
    return torch.convolution(input, weight, bias, stride, padding, dilation, True, output_padding, groups)


def stock(input, weight, *rest):
    return _STOCK[weight.dim() - 3](input, weight, *rest)


def check(input, weight, bias, stride, padding, output_padding, groups, dilation):
    for name, values, least in (
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("output_padding", output_padding, 0),
        ("dilation", dilation, 1),
    ):
        if min(values) < least:
            raise RuntimeError(f"conv_transpose: {name} must be at least {least}, got {list(values)}")
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
    out_channels = weight.shape[1] * groups
    if bias is not None and (bias.dim() != 1 or bias.shape[0] != out_channels):
        raise RuntimeError(f"conv_transpose: bias must be [{out_channels}], got {list(bias.shape)}")
    if min(weight.shape[2:]) < 1:
        raise RuntimeError(f"conv_transpose: weight {list(weight.shape)} has an empty kernel")
    if min(input.shape[2:]) < 1:
        raise RuntimeError(f"conv_transpose: input {list(input.shape)} has no pixels")
    if min(output_size(input.shape[2:], weight.shape[2:], stride, padding, output_padding, dilation)) < 1:
        raise RuntimeError(
            f"conv_transpose: padding {list(padding)} leaves nothing of input {list(input.shape)} with weight "
            f"{list(weight.shape)}, stride {list(stride)} and dilation {list(dilation)}"
        )
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype != input.dtype:
            raise RuntimeError(f"conv_transpose: {name} is {tensor.dtype}, expected input's {input.dtype}")
        if tensor is not None and tensor.device != input.device:
            raise RuntimeError(f"conv_transpose: {name} is on {tensor.device}, expected input's {input.device}")


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
