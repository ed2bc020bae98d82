"""How the recurrent operations differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from nnzoo_fast.recurrent.weights import group


class Call(NamedTuple):
    """The schema's arguments of a recurrent operation, `states` being h0 or h0, c0 (all None for zeros)."""

    input: torch.Tensor
    states: tuple
    weights: list
    batch_sizes: torch.Tensor | None
    seed: torch.Tensor | None
    bias: bool
    num_layers: int
    dropout: float
    bidirectional: bool
    options: tuple

    @property
    def count(self) -> int:
        """Directions of a layer."""
        return 2 if self.bidirectional else 1

    @property
    def directions(self) -> int:
        return self.num_layers * self.count

    @property
    def batch(self) -> int:
        return self.input.shape[1] if self.states[0] is None else self.states[0].shape[1]


@dataclass(frozen=True)
class Family:
    """A recurrent operation.

    Args:
        name: the op's folder.
        gates: rows of w_ih and w_hh for each hidden unit.
        kept: values of each hidden unit and step that backward wants of the gates.
        has_cells: a state c besides h, and the projection that comes with it.
        shares_bias_gradient: b_ih and b_hh enter every gate as a sum.
    """

    name: str
    gates: int
    kept: int
    has_cells: bool = False
    shares_bias_gradient: bool = True

    @property
    def schema(self) -> str:
        states = "Tensor? h0, Tensor? c0" if self.has_cells else "Tensor? h0"
        return (
            f"Tensor input, {states}, Tensor[] weights, Tensor? batch_sizes, Tensor? seed, bool bias, int num_layers, "
            "float dropout, bool bidirectional"
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        visible, kept = (("h_n", "c_n"), ("gates", "cells")) if self.has_cells else (("h_n",), ("gates",))
        return ("output", *visible, *kept, "layer_outputs")

    @property
    def states(self) -> int:
        return 2 if self.has_cells else 1

    def call(self, args: tuple) -> Call:
        """The schema's arguments by name; what follows `bidirectional` are the op's own options."""
        after = 1 + self.states
        return Call(args[0], tuple(args[1:after]), *args[after : after + 7], tuple(args[after + 7 :]))

    def split_outputs(self, outputs: tuple) -> tuple:
        """output, (h_n, c_n), (gates, cells), layer_outputs; without cells each tuple has one tensor."""
        output, *rest, layer_outputs = outputs
        return output, tuple(rest[: self.states]), tuple(rest[self.states :]), layer_outputs

    def zero_states(self, input: torch.Tensor, weights: list, bias: bool, directions: int, batch: int) -> tuple:
        """The states of a caller who gave none."""
        first = group(weights, bias, directions)[0]
        h0 = input.new_zeros((directions, batch, first.out_features))
        if not self.has_cells:
            return (h0,)
        return h0, h0 if first.w_hr is None else input.new_zeros((directions, batch, first.hidden_size))

    def allocate(self, *args) -> tuple:
        """The `allocate` of an operation."""
        *args, training = args
        call = self.call(args)
        first = group(call.weights, call.bias, call.directions)[0]
        hidden, features = first.hidden_size, call.count * first.out_features
        rows, new = tuple(call.input.shape[:-1]), call.input.new_empty
        widths = (first.out_features, hidden)[: self.states]
        visible = new((*rows, features)), *(new((call.directions, call.batch, width)) for width in widths)
        if not training:
            return *visible, *(new(0) for _ in range(self.states + 1))
        dtype, widths = compute_dtype(call.input.dtype), (self.kept * hidden, hidden)[: self.states]
        kept = (new((call.directions, *rows, width), dtype=dtype) for width in widths)
        return *visible, *kept, new((call.num_layers - 1, *rows, features))

    def keeps(self, args: tuple, needs: tuple) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
        """The `keeps` of an operation: everything but the last states."""
        return (True,) * len(needs), (True, *(False,) * self.states, *(True,) * (self.states + 1))

    def flops(self, *args) -> int:
        """The `flops` of an operation."""
        call = self.call(args)
        return 2 * math.prod(call.input[:-1]) * sum(math.prod(weight) for weight in call.weights if len(weight) == 2)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of a recurrent kernel's sums and of what it keeps for backward."""
    return torch.float64 if dtype == torch.float64 else torch.float32
