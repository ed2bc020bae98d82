"""`ConvLSTM1d`, `ConvLSTM2d` and `ConvLSTM3d`, on `ops.conv_lstm`; torch.nn has no such layers."""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from nnzoo_fast import ops
from nnzoo_fast.ops.conv.arguments import per_dimension

State = tuple[torch.Tensor, torch.Tensor]


class _ConvLSTM(torch.nn.Module):
    """A stack of convolutional LSTM layers (Shi et al., 2015, without peephole weights), in the manner of
    `torch.nn.LSTM`: weights are `weight_ih_l0`, `weight_hh_l0`, `bias_l0` and so on, gates stacked as i, f, g, o.

    Args:
        in_channels, hidden_channels: channels of the input, and of the state and output.
        kernel_size: of both convolutions; an int stands for every dimension.
        padding: "same", "valid" or the zeros before and after each dimension of every layer's input. The state's own
            convolution always keeps the size.
        dilation: distance of neighbouring taps.
        bias: whether each layer has a bias per gate and channel.
        num_layers: layers, each fed the outputs of the one below.
        batch_first: input and output are [batch, steps, ...].
        return_sequences: False returns the output of the last step only.

    Raises:
        ValueError: sizes that are not positive, or an unknown padding.
    """

    dimensions: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int | tuple[int, ...],
        padding: int | tuple[int, ...] | str = "same",
        dilation: int | tuple[int, ...] = 1,
        bias: bool = True,
        num_layers: int = 1,
        batch_first: bool = False,
        return_sequences: bool = True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        name, n = type(self).__name__, self.dimensions
        self.kernel_size = tuple(per_dimension("kernel_size", kernel_size, n, name))
        self.dilation = tuple(per_dimension("dilation", dilation, n, name))
        for what, least in (
            ("in_channels", in_channels),
            ("hidden_channels", hidden_channels),
            ("num_layers", num_layers),
            ("kernel_size", min(self.kernel_size)),
            ("dilation", min(self.dilation)),
        ):
            if least < 1:
                raise ValueError(f"{name}: {what} must be at least 1, got {least}")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f'{name}: padding must be "same", "valid" or integers, got {padding!r}')
            self.padding = padding
        else:
            self.padding = tuple(per_dimension("padding", padding, n, name))
        self.in_channels, self.hidden_channels, self.num_layers = in_channels, hidden_channels, num_layers
        self.bias, self.batch_first, self.return_sequences = bias, batch_first, return_sequences
        for layer in range(num_layers):
            channels = hidden_channels if layer else in_channels
            shapes = {"weight_ih": (channels, *self.kernel_size), "weight_hh": (hidden_channels, *self.kernel_size)}
            if bias:
                shapes["bias"] = ()
            for kind, shape in shapes.items():
                values = torch.empty((4 * hidden_channels, *shape), device=device, dtype=dtype)
                self.register_parameter(f"{kind}_l{layer}", torch.nn.Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in +-1 / sqrt(hidden_channels * taps), as torch.nn.LSTM does with one tap."""
        bound = 1 / math.sqrt(self.hidden_channels * math.prod(self.kernel_size))
        for weight in self.parameters():
            torch.nn.init.uniform_(weight, -bound, bound)

    def forward(self, input: torch.Tensor, hx: State | None = None) -> tuple[torch.Tensor, State]:
        """
        Args:
            input: [steps, batch, in_channels, *size] ([batch, steps, ...] if `batch_first`), or without batch.
            hx: h_0 and c_0 [num_layers, batch, hidden_channels, *state], or without batch; None for zeros.

        Returns:
            output [steps, batch, hidden_channels, *state] as the input is laid out, or without steps unless
            `return_sequences`; h_n and c_n in the shapes of `hx`.

        Raises:
            ValueError: another number of dimensions.
            RuntimeError: sizes that don't fit.
        """
        n = self.dimensions
        if input.dim() not in (n + 2, n + 3):
            raise ValueError(
                f"{type(self).__name__}: expected input to have {n + 2} or {n + 3} dimensions, got {input.dim()}"
            )
        batched = input.dim() == n + 3
        if not batched:
            input = input.unsqueeze(1)
            hx = None if hx is None else tuple(state.unsqueeze(1) for state in hx)
        elif self.batch_first:
            input = input.transpose(0, 1)
        for index, state in enumerate(hx or ()):
            if state.dim() != n + 3 or state.shape[0] != self.num_layers:
                raise RuntimeError(
                    f"{type(self).__name__}: hx[{index}] must be [num_layers={self.num_layers}, batch, "
                    f"hidden_channels, *state], got {list(state.shape)}"
                )
        output, h_n, c_n = input, [], []
        for layer in range(self.num_layers):
            state = None if hx is None else (hx[0][layer], hx[1][layer])
            weights = getattr(self, f"weight_ih_l{layer}"), getattr(self, f"weight_hh_l{layer}")
            bias = getattr(self, f"bias_l{layer}") if self.bias else None
            output, h, c = ops.conv_lstm(output, state, *weights, bias, self.padding, self.dilation)
            h_n.append(h)
            c_n.append(c)
        states = torch.stack(h_n), torch.stack(c_n)
        if not self.return_sequences:
            output = h
        elif self.batch_first and batched:
            output = output.transpose(0, 1)
        if batched:
            return output, states
        return output.squeeze(1 if self.return_sequences else 0), (states[0].squeeze(1), states[1].squeeze(1))

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.hidden_channels}, kernel_size={self.kernel_size}, padding={self.padding!r}, "
            f"dilation={self.dilation}, bias={self.bias}, num_layers={self.num_layers}, "
            f"batch_first={self.batch_first}, return_sequences={self.return_sequences}"
        )


class ConvLSTM1d(_ConvLSTM):
    __doc__ = f"Over sequences of signals [channels, L].\n\n{_ConvLSTM.__doc__}"
    dimensions = 1


class ConvLSTM2d(_ConvLSTM):
    __doc__ = f"Over sequences of images [channels, H, W].\n\n{_ConvLSTM.__doc__}"
    dimensions = 2


class ConvLSTM3d(_ConvLSTM):
    __doc__ = f"Over sequences of volumes [channels, D, H, W].\n\n{_ConvLSTM.__doc__}"
    dimensions = 3
