"""`conv_lstm`: an LSTM layer over sequences of images, its matrix products being convolutions."""

import math

import torch

from nnzoo_fast.backends import Backend
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.conv import stock as stock_conv
from nnzoo_fast.ops.conv.arguments import per_dimension, resolve_padding
from nnzoo_fast.ops.conv_lstm import cpu
from nnzoo_fast.ops.conv_lstm.outputs import allocate, state_size
from nnzoo_fast.ops.conv_lstm.reference import reference, steps_with
from nnzoo_fast.recurrent.check import two_states

__all__ = ["conv_lstm", "operation", "reference"]


def conv_lstm(
    input: torch.Tensor,
    hx: tuple[torch.Tensor, torch.Tensor] | None,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias: torch.Tensor | None = None,
    padding: int | tuple[int, ...] | str = "same",
    dilation: int | tuple[int, ...] = 1,
    *,
    backend: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One layer of a convolutional LSTM; * is the convolution of `conv`, with stride 1.

        i, f, o = sigmoid(W_i* * x_t + W_h* * h_{t-1} + b),  g = tanh(...),
        c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)

    Source: Shi et al., "Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting" (2015),
    without the peephole weights.

    Args:
        input: [steps, batch, in_channels, *size] with one to three spatial dimensions.
        hx: h0 and c0 [batch, hidden, *state]; None for zeros.
        weight_ih: [4 * hidden, in_channels, *kernel]; the gates are stacked as i, f, g, o.
        weight_hh: [4 * hidden, hidden, *kernel].
        bias: [4 * hidden].
        padding: zeros around the input: "same" (state as large as input), "valid" (none), or their number before and
            after each dimension. The state's own convolution always keeps the size.
        dilation: distance of neighbouring taps of both kernels.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        output [steps, batch, hidden, *state], h_n (its last step) and c_n [batch, hidden, *state], with
        state = size + padding before and after - dilation * (kernel - 1).

    Raises:
        TypeError: `hx` that is no tuple; padding or dilation that are not integers.
        RuntimeError: shapes, dtypes, devices or paddings that don't fit together.
        BackendError: `backend` can't run this call.
    """
    n = weight_ih.dim() - 2
    if n not in (1, 2, 3):
        raise RuntimeError(f"conv_lstm: weight_ih must have 3 to 5 dimensions, got {list(weight_ih.shape)}")
    dilation = per_dimension("dilation", dilation, n, "conv_lstm")
    padding = resolve_padding(padding, weight_ih.shape[2:], [1] * n, dilation)
    h0, c0 = (None, None) if hx is None else two_states("conv_lstm", hx)
    output, c_n = operation(input, h0, c0, weight_ih, weight_hh, bias, padding, dilation, backend=backend)
    return output, output[-1].clone(), c_n  # no view: who writes into one result must not change another


def stock(input, h0, c0, w_ih, w_hh, bias, padding, dilation):
    return steps_with(stock_conv, torch.sigmoid, torch.tanh, input, h0, c0, w_ih, w_hh, bias, padding, dilation)


def check(input, h0, c0, w_ih, w_hh, bias, padding, dilation):
    n, hidden = len(dilation), w_ih.shape[0] // 4
    if input.dim() != n + 3 or input.shape[0] < 1:
        raise RuntimeError(
            f"conv_lstm: input must be [steps, batch, in_channels, *size] with {n} sizes and a step, got "
            f"{list(input.shape)}"
        )
    if hidden < 1 or w_ih.shape[0] % 4 or w_ih.shape[1] != input.shape[2]:
        raise RuntimeError(
            f"conv_lstm: weight_ih must be [4 * hidden, {input.shape[2]}, *kernel] for input {list(input.shape)}, got "
            f"{list(w_ih.shape)}"
        )
    if min(w_ih.shape[2:]) < 1:
        raise RuntimeError(f"conv_lstm: weight_ih {list(w_ih.shape)} has an empty kernel")
    for name, values, least in (("padding", padding, 0), ("dilation", dilation, 1)):
        if min(values) < least:
            raise RuntimeError(f"conv_lstm: {name} must be at least {least}, got {list(values)}")
    size = state_size(input, w_ih, padding, dilation)
    if min(size) < 1:
        raise RuntimeError(
            f"conv_lstm: input {list(input.shape)} with padding {list(padding)} is smaller than the kernel, weight_ih "
            f"{list(w_ih.shape)} with dilation {list(dilation)}"
        )
    if (h0 is None) != (c0 is None):
        raise RuntimeError("conv_lstm: h0 and c0 must be given together")
    state = [input.shape[1], hidden, *size]
    for name, tensor, expected in (
        ("weight_hh", w_hh, [4 * hidden, hidden, *w_ih.shape[2:]]),
        ("bias", bias, [4 * hidden]),
        ("h0", h0, state),
        ("c0", c0, state),
    ):
        if tensor is not None and list(tensor.shape) != expected:
            raise RuntimeError(f"conv_lstm: {name} must be {expected}, got {list(tensor.shape)}")
    for name, tensor in (("weight_ih", w_ih), ("weight_hh", w_hh), ("bias", bias), ("h0", h0), ("c0", c0)):
        if tensor is not None and tensor.dtype != input.dtype:
            raise RuntimeError(f"conv_lstm: {name} is {tensor.dtype}, expected input's {input.dtype}")
        if tensor is not None and tensor.device != input.device:
            raise RuntimeError(f"conv_lstm: {name} is on {tensor.device}, expected input's {input.device}")


def keeps(args, needs):
    # No kernel reads the bias again, but a gradient that is differentiated again rebuilds the gates with it.
    return (True,) * 6, (True, False, True, True)


def flops(input, h0, c0, w_ih, w_hh, bias, padding, dilation):
    n = len(dilation)
    pixels = math.prod(
        input[3 + i] + padding[2 * i] + padding[2 * i + 1] - dilation[i] * (w_ih[2 + i] - 1) for i in range(n)
    )
    return 2 * input[0] * input[1] * pixels * (math.prod(w_ih) + math.prod(w_hh))


operation = Operation(
    "conv_lstm",
    "Tensor input, Tensor? h0, Tensor? c0, Tensor w_ih, Tensor w_hh, Tensor? bias, int[] padding, int[] dilation",
    ("output", "c_n", "gates", "cells"),
    visible=2,
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    autocast="lower",
    flops=flops,
)
