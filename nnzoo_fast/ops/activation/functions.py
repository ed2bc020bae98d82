"""The functions of `activation`: what each means, torch's operator, and what its gradient is written in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from nnzoo_fast.activations import ACTIVATIONS, STOCK


@dataclass(frozen=True)
class Function:
    """Args:
    meaning: `meaning(x, *parameters)` in plain differentiable PyTorch.
    stock: PyTorch's own operator, with the same arguments.
    defaults: the parameters that a call may leave out.
    of_output: `of_output(grad, output)`, the gradient, if it is written in the output. Then that is kept for backward
        and the input may change in place, as in torch; else the input is kept.
    """

    meaning: Callable
    stock: Callable
    defaults: tuple[float, ...] = ()
    of_output: Callable | None = None


def _leaky_relu(x, slope):
    return torch.where(x > 0, x, x * slope)


def _elu(x, alpha):
    return torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


def _hardswish(x):
    return x * (x + 3).clamp(0, 6) / 6


def _mish(x):
    return x * torch.tanh(_softplus(x, 1.0, 20.0))


def _softplus(x, beta, threshold):
    z = x * beta
    return torch.where(z > threshold, x, torch.log1p(torch.exp(z.clamp(max=threshold))) / beta)


FUNCTIONS = {
    "relu": Function(torch.relu, torch.relu, of_output=lambda grad, y: grad.where(~(y <= 0), 0)),
    "gelu": Function(ACTIVATIONS["gelu"], STOCK["gelu"]),
    "gelu_tanh": Function(ACTIVATIONS["gelu_tanh"], STOCK["gelu_tanh"]),
    "silu": Function(ACTIVATIONS["silu"], STOCK["silu"]),
    "tanh": Function(torch.tanh, torch.tanh, of_output=lambda grad, y: grad * (1 - y * y)),
    "sigmoid": Function(torch.sigmoid, torch.sigmoid, of_output=lambda grad, y: grad * ((1 - y) * y)),
    "leaky_relu": Function(_leaky_relu, F.leaky_relu, (0.01,)),
    "elu": Function(_elu, F.elu, (1.0,)),
    "hardswish": Function(_hardswish, F.hardswish),
    "mish": Function(_mish, F.mish),
    "softplus": Function(_softplus, F.softplus, (1.0, 20.0)),
}
"""By name, in the order that the kernels know."""

CODES = {name: code for code, name in enumerate(FUNCTIONS)}
