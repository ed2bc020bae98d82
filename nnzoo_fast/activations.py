"""The activations that the epilogues of `linear` and `conv` apply: what they mean, and what their gradients read."""

import torch
import torch.nn.functional as F


def gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.erf(x * 0.5**0.5))


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x * x * x)))


ACTIVATIONS = {
    "none": lambda x: x,
    "relu": torch.relu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": lambda x: x * torch.sigmoid(x),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
"""The definition of every activation by name, in the order of the codes that the kernels know."""

ACTIVATION_CODES = {name: code for code, name in enumerate(ACTIVATIONS)}

NEEDS_PREACTIVATION = ("gelu", "gelu_tanh", "silu")
"""Activations whose derivative can't be had from their output."""

STOCK = ACTIVATIONS | {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}
"""PyTorch's own operator for each."""

_STOCK_IN_PLACE = {"relu": torch.relu_, "tanh": torch.tanh_, "sigmoid": torch.sigmoid_}


def check_activation(op: str, name: str) -> None:
    """Raises ValueError for a name that isn't one of `ACTIVATIONS`."""
    if name not in ACTIVATIONS:
        raise ValueError(f"{op}: activation is {name!r}, expected one of {', '.join(ACTIVATIONS)}")


def activate_stock(name: str, x: torch.Tensor) -> torch.Tensor:
    """The activation by PyTorch's own operator. `x` is lost: nobody else may hold it, nor any gradient need it."""
    if type(x) is torch.Tensor and name in _STOCK_IN_PLACE:
        return _STOCK_IN_PLACE[name](x)
    return STOCK[name](x)


def kept_outputs(name: str, residual: bool = False) -> tuple[bool, bool]:
    """Which of (output, kept) holds what the activation's derivative is written in: its argument, or its result where
    that isn't the output because a residual was added."""
    apart = residual or name in NEEDS_PREACTIVATION
    return name != "none" and not apart, name != "none" and apart


def kept_of(outputs: tuple, name: str, residual: bool = False) -> torch.Tensor | None:
    """Of (output, kept), what the activation's derivative is written in."""
    return next((out for out, wanted in zip(outputs, kept_outputs(name, residual), strict=True) if wanted), None)
