"""`LSTM`, `GRU`, `RNN` and their cells, on the `ops` of the same names."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import PackedSequence

from nnzoo_fast import ops
from nnzoo_fast.nn.drop_in import drop_in
from nnzoo_fast.recurrent.check import two_states

State = torch.Tensor | tuple[torch.Tensor, torch.Tensor]
"""h, or the tuple of h and c."""


class _Recurrent(torch.nn.RNNBase):
    """What the sequence layers share.

    They subclass `torch.nn.RNNBase`, since torch.compile refuses every subclass of `torch.nn.LSTM`, `GRU` and `RNN`.
    They work on the same attributes, so `accelerate` and `restore` may exchange the two classes.
    """

    _kind: str
    _states = 1

    def forward(self, input, hx=None):
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(f"{self._kind}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.dim() == 3
        batch_dim = 0 if self.batch_first and batched else 1
        if not batched:
            input = input.unsqueeze(1)
        self.check_input(input, None)
        if hx is not None:
            hx = self._checked_state(hx, batched, input.shape[batch_dim])
        output, *states = self._run(input, hx, self.batch_first and batched, None)
        if not batched:
            output, *states = (tensor.squeeze(1) for tensor in (output, *states))
        return output, self._joined(states)

    def _forward_packed(self, input: PackedSequence, hx: State | None) -> tuple[PackedSequence, State]:
        data, batch_sizes, sorted_indices, unsorted_indices = input
        self.check_input(data, batch_sizes)
        if hx is not None:
            hx = self.permute_hidden(hx, sorted_indices)
        output, *states = self._run(data, hx, False, batch_sizes)
        packed = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
        return packed, self.permute_hidden(self._joined(states), unsorted_indices)

    def _run(self, input, hx, batch_first, batch_sizes):
        # By attribute: `_flat_weights` misses weights that functional_call or a parametrization puts in their place.
        weights = [getattr(self, name) for name in self._flat_weights_names]
        settings = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional, batch_first)
        return self._operation(input, hx, weights, *settings, batch_sizes)

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
        states = self._parts(hx)
        dims = 3 if batched else 2
        if any(state.dim() != dims for state in states):
            kind = "batched 3-D" if batched else "unbatched 2-D"
            got = ", ".join(f"{state.dim()}-D" for state in states)
            raise RuntimeError(f"For {kind} input, hx should also be {dims}-D but got {got} tensors")
        if not batched:
            states = [state.unsqueeze(1) for state in states]
        directions = self.num_layers * (2 if self.bidirectional else 1)
        widths = self.proj_size or self.hidden_size, self.hidden_size
        for index, state in enumerate(states):
            message = f"Expected hidden[{index}] size {{}}, got {{}}"
            self.check_hidden_size(state, (directions, batch, widths[index]), message)
        return self._joined(states)

    def permute_hidden(self, hx: State, permutation: torch.Tensor | None) -> State:
        if permutation is None:
            return hx
        return self._joined([state.index_select(1, permutation) for state in self._parts(hx)])

    def _parts(self, hx: State) -> tuple[torch.Tensor, ...]:
        return two_states(self._kind, hx) if self._states == 2 else (hx,)

    def _joined(self, states) -> State:
        return tuple(states) if self._states == 2 else states[0]


@drop_in(torch.nn.LSTM)
class LSTM(_Recurrent):
    """`torch.nn.LSTM`: [steps, batch, input_size] (batch first, unbatched, packed) -> output, (h_n, c_n)."""

    _kind, _states, _operation = "LSTM", 2, staticmethod(ops.lstm)

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)


@drop_in(torch.nn.GRU)
class GRU(_Recurrent):
    """`torch.nn.GRU`: [steps, batch, input_size] (batch first, unbatched, packed) -> output, h_n."""

    _kind, _operation = "GRU", staticmethod(ops.gru)

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


@drop_in(torch.nn.RNN)
class RNN(_Recurrent):
    """`torch.nn.RNN`: [steps, batch, input_size] (batch first, unbatched, packed) -> output, h_n."""

    _kind = "RNN"

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            self.nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{self.nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{self.nonlinearity.upper()}", *args, **kwargs)

    def _operation(self, *args):
        return ops.rnn(*args, self.nonlinearity)


@drop_in(torch.nn.LSTMCell)
class LSTMCell(torch.nn.LSTMCell):
    """`torch.nn.LSTMCell`: [batch, input_size] or [input_size] -> (h, c)."""

    def forward(self, input, hx=None):
        return _cell(self, ops.lstm_cell, input, hx, 2)


@drop_in(torch.nn.GRUCell)
class GRUCell(torch.nn.GRUCell):
    """`torch.nn.GRUCell`: [batch, input_size] or [input_size] -> h."""

    def forward(self, input, hx=None):
        return _cell(self, ops.gru_cell, input, hx, 1)


@drop_in(torch.nn.RNNCell)
class RNNCell(torch.nn.RNNCell):
    """`torch.nn.RNNCell`: [batch, input_size] or [input_size] -> h."""

    def forward(self, input, hx=None):
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return _cell(self, ops.rnn_cell, input, hx, 1, self.nonlinearity)


def _cell(layer: torch.nn.RNNCellBase, operation, input, hx: State | None, count: int, *options) -> State:
    """One step of a cell with `count` states, which may be unbatched or absent."""
    name = type(layer).__name__
    if input.dim() not in (1, 2):
        raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
    states = () if hx is None else two_states(name, hx) if count == 2 else (hx,)
    for index, state in enumerate(states):
        if state.dim() not in (1, 2):
            label = f"hx[{index}]" if count == 2 else "hidden"
            raise ValueError(f"{name}: Expected {label} to be 1D or 2D, got {state.dim()}D instead")
    batched = input.dim() == 2
    if not batched:
        input, states = input.unsqueeze(0), [state.unsqueeze(0) for state in states]
    if hx is None:
        zeros = torch.zeros(input.size(0), layer.hidden_size, dtype=input.dtype, device=input.device)
        states = (zeros,) * count
    states = tuple(states) if count == 2 else states[0]
    found = operation(input, states, layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh, *options)
    if batched:
        return found
    return tuple(state.squeeze(0) for state in found) if count == 2 else found.squeeze(0)
