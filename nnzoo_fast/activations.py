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

_STOCK = ACTIVATIONS | {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}

_STOCK_IN_PLACE = {"relu": torch.relu_, "tanh": torch.tanh_, "sigmoid": torch.sigmoid_}


def check_activation(op: str, name: str) -> None:
    """Raises ValueError for a name that isn't one of `ACTIVATIONS`."""
    if name not in ACTIVATIONS:
        raise ValueError(f"{op}: activation is {name!r}, expected one of {', '.join(ACTIVATIONS)}")


def activate_stock(name: str, x: torch.Tensor) -> torch.Tensor:
    """The activation by PyTorch's own operator. `x` is lost: nobody else may hold it, nor any gradient need it."""
    if type(x) is torch.Tensor and name in _STOCK_IN_PLACE:
        return _STOCK_IN_PLACE[name](x)
    return _STOCK[name](x)


def is_kept(name: str, training: bool) -> bool:
    """Whether forward keeps the activation's argument for backward."""
    return training and name in NEEDS_PREACTIVATION


def kept_outputs(name: str) -> tuple[bool, bool]:
    """Which of (output, preactivation) the activation's gradient reads."""
    return (name not in (*NEEDS_PREACTIVATION, "none"), name in NEEDS_PREACTIVATION)


def kept_of(outputs: tuple, name: str) -> torch.Tensor | None:
    """Of (output, preactivation), the one that the activation's gradient reads."""
    return outputs[kept_outputs(name).index(True)] if name != "none" else None
