"""`LSTM` and `LSTMCell`, on `ops.lstm` and `ops.lstm_cell`."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import PackedSequence

from nnzoo_fast import ops
from nnzoo_fast.nn.drop_in import drop_in

State = tuple[torch.Tensor, torch.Tensor]


@drop_in(torch.nn.LSTM)
class LSTM(torch.nn.RNNBase):
    """`torch.nn.LSTM`: [steps, batch, input_size] (batch first, unbatched, packed) -> output, (h_n, c_n).

    It subclasses `torch.nn.RNNBase`, since torch.compile refuses every subclass of `torch.nn.LSTM`. It works on the
    same attributes, so `accelerate` and `restore` may exchange the two classes.
    """

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)

    def forward(self, input, hx=None):
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.dim() == 3
        batch_dim = 0 if self.batch_first and batched else 1
        if not batched:
            input = input.unsqueeze(1)
        self.check_input(input, None)
        if hx is not None:
            hx = self._checked_state(hx, batched, input.shape[batch_dim])
        output, h_n, c_n = self._run(input, hx, self.batch_first and batched, None)
        if not batched:
            return output.squeeze(1), (h_n.squeeze(1), c_n.squeeze(1))
        return output, (h_n, c_n)

    def _forward_packed(self, input: PackedSequence, hx: State | None) -> tuple[PackedSequence, State]:
        data, batch_sizes, sorted_indices, unsorted_indices = input
        self.check_input(data, batch_sizes)
        if hx is not None:
            hx = self.permute_hidden(hx, sorted_indices)
        output, *states = self._run(data, hx, False, batch_sizes)
        packed = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
        return packed, self.permute_hidden(tuple(states), unsorted_indices)

    def _run(self, input, hx, batch_first, batch_sizes):
        # By attribute: `_flat_weights` misses weights that functional_call or a parametrization puts in their place.
        weights = [getattr(self, name) for name in self._flat_weights_names]
        settings = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional, batch_first)
        return ops.lstm(input, hx, weights, *settings, batch_sizes)

    def check_input(self, input: torch.Tensor, batch_sizes: torch.Tensor | None) -> None:
        weight = getattr(self, self._flat_weights_names[0])
        if input.dtype != weight.dtype and not torch.is_autocast_enabled(input.device.type):
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                f"input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 3 if batch_sizes is None else 2
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}"
            )

    def _checked_state(self, hx: State, batched: bool, batch: int) -> State:
        h, c = hx
        dims = 3 if batched else 2
        if h.dim() != dims or c.dim() != dims:
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx and cx should also be {dims}-D but got ({h.dim()}-D, {c.dim()}-D) tensors"
            )
        if not batched:
            h, c = h.unsqueeze(1), c.unsqueeze(1)
        directions = self.num_layers * (2 if self.bidirectional else 1)
        self.check_hidden_size(h, (directions, batch, self.proj_size or self.hidden_size), _WRONG_SIZE.format(0))
        self.check_hidden_size(c, (directions, batch, self.hidden_size), _WRONG_SIZE.format(1))
        return h, c

    def permute_hidden(self, hx: State, permutation: torch.Tensor | None) -> State:
        if permutation is None:
            return hx
        return hx[0].index_select(1, permutation), hx[1].index_select(1, permutation)


_WRONG_SIZE = "Expected hidden[{}] size {{}}, got {{}}"


@drop_in(torch.nn.LSTMCell)
class LSTMCell(torch.nn.LSTMCell):
    """`torch.nn.LSTMCell`: [batch, input_size] or [input_size] -> (h, c)."""

    def forward(self, input, hx=None):
        if input.dim() not in (1, 2):
            raise ValueError(f"LSTMCell: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for index, state in enumerate(hx or ()):
            if state.dim() not in (1, 2):
                raise ValueError(f"LSTMCell: Expected hx[{index}] to be 1D or 2D, got {state.dim()}D instead")
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
        if hx is None:
            zeros = torch.zeros(input.size(0), self.hidden_size, dtype=input.dtype, device=input.device)
            hx = (zeros, zeros)
        elif not batched:
            hx = (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        h, c = ops.lstm_cell(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))
