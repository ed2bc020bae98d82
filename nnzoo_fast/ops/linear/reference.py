"""What `linear` means."""

import torch


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
"""Every activation by name, in the order of the codes that the kernels know."""


def reference(input, weight, bias=None, activation="none"):
    """activation(input @ weight^T + bias)."""
    output = input @ weight.transpose(0, 1)
    if bias is not None:
        output = output + bias
    return ACTIVATIONS[activation](output)
