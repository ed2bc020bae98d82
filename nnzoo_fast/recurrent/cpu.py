"""A layer on the CPU kernels of `csrc/ops/<op>`, whose arguments stand in `csrc/common/recurrent_bind.h`."""

from __future__ import annotations

import torch
from torch.compiler import is_compiling

from nnzoo_fast import _extension, tables
from nnzoo_fast.backends import Verdict, address
from nnzoo_fast.recurrent import layers
from nnzoo_fast.recurrent.family import Family

FEW_SEQUENCES = 4
"""A batch up to so large leaves a step's products waiting for the weights."""

FEWEST_ROWS = {"forward": 64, "training": 256}
"""Of one step. Below, packing the weights costs more than it saves: 0.4 to 0.9 times stock torch's speed with 1 to 32
rows on Zen 4, 1 thread; from here on 1.0 to 1.15 times."""


def kind_of(family: Family, *args) -> tuple[str, int]:
    """The kind of call that a table tells apart, and its steps."""
    call = family.call(args)
    kind = f"{tables.DTYPE_NAMES[call.input.dtype]} "
    if call.batch_sizes is not None:
        kind, steps = f"{kind}packed", call.batch_sizes.shape[0]
    else:
        steps, batch = call.input.shape[:2]
        kind += "one sequence" if batch == 1 else f"{'few' if batch <= FEW_SEQUENCES else 'many'} sequences"
    return f"{kind} {tables.way(call.input, *call.weights)}", steps


def sequence_pays(family: Family, rule: Verdict, *args) -> Verdict:
    """`rule`, or what a table says. Compiled, torch has no such operator, only its steps one by one."""
    return rule if is_compiling() else tables.pays(family.name, *kind_of(family, *args), rule, "steps")


def enough_steps(family: Family, least: dict[str, int], *args) -> Verdict:
    """Whether the steps of a call, at least so many forward and in training, are enough to pay for packing weights.

    What is saved is torch's own time for each step.
    """
    _, steps = kind_of(family, *args)
    call = family.call(args)
    if not is_compiling() and steps < least[tables.way(call.input, *call.weights)]:
        return False, "with so few steps, packing the weights takes as long as torch takes for the steps"
    return True, "whole sequence in one kernel: packed recurrent weights, gates applied in the cache"


def cell_kind_of(input, *args) -> tuple[str, int]:
    """The kind of a single step that a table tells apart, and its rows; `args` begin with states and weights."""
    return f"{tables.DTYPE_NAMES[input.dtype]} {_cell_way(input, *args)}", input.shape[0]


def cell_pays(name: str, input, *args) -> Verdict:
    """Whether the rows of a single step of the cell `name` are enough to pay for packing weights."""
    if input.shape[0] < FEWEST_ROWS[_cell_way(input, *args)]:
        rule = False, "with so few rows, packing the weights takes as long as torch takes for the step"
    else:
        rule = True, "both products and the gates in one call"
    return tables.pays(name, *cell_kind_of(input, *args), rule, "rows")


def _cell_way(input, *args) -> str:
    return tables.way(input, *(tensor for tensor in args if isinstance(tensor, torch.Tensor)))


class Direction(layers.Direction):
    """One direction; the layer's directions run side by side in one call. An op's subclass names its family."""

    family: Family

    @property
    def kernel_sizes(self) -> tuple[int, ...]:
        own = self.weights
        return (
            self.steps,
            self.batch,
            self.rows,
            own.w_ih.shape[1],
            own.hidden_size,
            0 if own.w_hr is None else own.out_features,
            address(self.batch_sizes),
            _extension.DTYPE_CODES[self.dtype],
            torch.get_num_threads(),
        )

    @staticmethod
    def kernel_options(*options) -> tuple:
        """What the kernels take for the op's own options."""
        return options

    @classmethod
    def forward_layer(cls, passes, options) -> None:
        first = passes[0]
        output = first.tensors[1 + cls.family.states]
        directions = [(addresses(one.direction.weights), addresses(cls._forward_tensors(one))) for one in passes]
        kernel = getattr(_extension._C, f"{cls.family.name}_forward")
        kernel(first.direction.kernel_sizes, directions, output.stride(0), *cls.kernel_options(*options))

    @classmethod
    def backward_layer(cls, passes, options) -> None:
        first, states = passes[0], cls.family.states
        output, grad_output = first.tensors[1 + states], first.tensors[2 + 2 * states]
        directions = [
            (addresses(one.direction.weights), addresses(cls._backward_tensors(one)), addresses(cls._gradients(one)))
            for one in passes
        ]
        kernel = getattr(_extension._C, f"{cls.family.name}_backward")
        kernel(
            first.direction.kernel_sizes,
            directions,
            output.stride(0),
            grad_output.stride(0),
            *cls.kernel_options(*options),
        )

    @classmethod
    def _forward_tensors(cls, one) -> tuple:
        if cls.family.has_cells:
            return one.tensors
        input, h0, output, h_n, gates = one.tensors
        return input, h0, None, output, h_n, None, gates, None

    @classmethod
    def _backward_tensors(cls, one) -> tuple:
        if cls.family.has_cells:
            return one.tensors
        input, h0, output, gates, grad_output, grad_h_n = one.tensors
        return input, h0, None, output, gates, None, grad_output, grad_h_n, None

    @classmethod
    def _gradients(cls, one) -> tuple:
        grad_h0, *grad_c0 = one.grad_states
        return one.grad_input, *one.grad_weights, grad_h0, *(grad_c0 or (None,))

    @staticmethod
    def drop(tensor, into, layer, seed, probability) -> torch.Tensor:
        _extension._C.recurrent_dropout(
            tensor.data_ptr(),
            into.data_ptr(),
            tensor.numel(),
            (layer - 1) * tensor.numel(),
            probability,
            seed.item(),
            _extension.DTYPE_CODES[tensor.dtype],
            torch.get_num_threads(),
        )
        return into


def addresses(tensors) -> tuple[int, ...]:
    return tuple(map(address, tensors))
