"""`activation`: one function of each element, in one pass over memory."""

from __future__ import annotations

import math

import torch

from nnzoo_fast.backends import Backend
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.activation import cpu
from nnzoo_fast.ops.activation.functions import FUNCTIONS
from nnzoo_fast.ops.activation.reference import reference

__all__ = ["activation", "operation", "reference"]


def activation(input: torch.Tensor, function: str, *parameters: float, backend: str | None = None) -> torch.Tensor:
    """A function of each element, as `torch.nn.functional`'s of the same name.

    Args:
        input: any shape and strides.
        function: "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "leaky_relu", "elu", "hardswish", "mish" or
            "softplus".
        parameters: of "leaky_relu" the negative slope (0.01), of "elu" alpha (1), of "softplus" beta and the threshold
            (1, 20) above which it is the identity.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        As `input`, in its memory format.

    Raises:
        TypeError: `input` is no tensor, or `parameters` are too many.
        ValueError: an unknown function.
        BackendError: `backend` can't run this call.
    """
    known = FUNCTIONS.get(function)
    if known is None:
        raise ValueError(f"activation: function is {function!r}, expected one of {', '.join(FUNCTIONS)}")
    if len(parameters) > len(known.defaults):
        raise TypeError(f"activation: {function} takes {len(known.defaults)} parameters, got {len(parameters)}")
    return operation(input, function, [*parameters, *known.defaults[len(parameters) :]], backend=backend)


def stock(input, function, parameters):
    return FUNCTIONS[function].stock(input, *parameters)


def allocate(input, function, parameters, training):
    return (torch.empty_like(input),)


def keeps(args, needs):
    of_output = FUNCTIONS[args[1]].of_output is not None
    return (not of_output,), (of_output,)


def formula(grads, args, outputs, needs):
    """Gradients that can be differentiated again, in the output where that is all that was kept."""
    of_output = FUNCTIONS[args[1]].of_output
    if of_output is not None:
        return (of_output(grads[0], outputs[0]),)
    return operation.reference_gradients(grads, args, needs, torch.is_grad_enabled())


def flops(input, function, parameters):
    return math.prod(input)


operation = Operation(
    "activation",
    "Tensor input, str function, float[] parameters",
    ("output",),
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    keeps=keeps,
    formula=formula,
    flops=flops,
    compiles=False,
)
