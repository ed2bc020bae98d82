"""torch.nn.functional's activations, dropout and elementwise losses, signature for signature.

What works in place is torch's own.
"""

import warnings

import torch
import torch.nn.functional as stock
from torch.compiler import is_compiling

from nnzoo_fast import ops

__all__ = [
    "binary_cross_entropy_with_logits",
    "dropout",
    "elu",
    "gelu",
    "hardswish",
    "kl_div",
    "leaky_relu",
    "mish",
    "relu",
    "sigmoid",
    "silu",
    "softplus",
    "tanh",
]


def relu(input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    """`torch.nn.functional.relu`."""
    return stock.relu(input, inplace) if inplace else ops.activation(input, "relu")


def leaky_relu(input: torch.Tensor, negative_slope: float = 0.01, inplace: bool = False) -> torch.Tensor:
    """`torch.nn.functional.leaky_relu`."""
    if inplace:
        return stock.leaky_relu(input, negative_slope, inplace)
    return ops.activation(input, "leaky_relu", negative_slope)


def elu(input: torch.Tensor, alpha: float = 1.0, inplace: bool = False) -> torch.Tensor:
    """`torch.nn.functional.elu`."""
    return stock.elu(input, alpha, inplace) if inplace else ops.activation(input, "elu", alpha)


def gelu(input: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    """`torch.nn.functional.gelu`: exact, or with `approximate="tanh"`."""
    if approximate not in ("none", "tanh"):
        return stock.gelu(input, approximate=approximate)
    return ops.activation(input, "gelu_tanh" if approximate == "tanh" else "gelu")


def silu(input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    """`torch.nn.functional.silu`."""
    return stock.silu(input, inplace) if inplace else ops.activation(input, "silu")


def mish(input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    """`torch.nn.functional.mish`."""
    return stock.mish(input, inplace) if inplace else ops.activation(input, "mish")


def hardswish(input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    """`torch.nn.functional.hardswish`."""
    return stock.hardswish(input, inplace) if inplace else ops.activation(input, "hardswish")


def softplus(input: torch.Tensor, beta: float = 1, threshold: float = 20) -> torch.Tensor:
    """`torch.nn.functional.softplus`."""
    return ops.activation(input, "softplus", beta, threshold)


def _with_methods(input: torch.Tensor, name: str) -> torch.Tensor:
    """`input`; raises what torch raises here, where it calls a method."""
    if not hasattr(input, name):
        raise AttributeError(f"{name}: input is a {type(input).__name__}, expected a Tensor")
    return input


def tanh(input: torch.Tensor) -> torch.Tensor:
    """`torch.nn.functional.tanh`."""
    return ops.activation(_with_methods(input, "tanh"), "tanh")


def sigmoid(input: torch.Tensor) -> torch.Tensor:
    """`torch.nn.functional.sigmoid`."""
    return ops.activation(_with_methods(input, "sigmoid"), "sigmoid")


def dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    """`torch.nn.functional.dropout`, the same distribution but not the same masks; see `ops.dropout`."""
    return stock.dropout(input, p, training, inplace) if inplace else ops.dropout(input, p, training)


def binary_cross_entropy_with_logits(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """`torch.nn.functional.binary_cross_entropy_with_logits`: input [*], target like it."""
    if size_average is not None or reduce is not None:
        old = size_average, reduce
        return stock.binary_cross_entropy_with_logits(input, target, weight, *old, reduction, pos_weight)
    return ops.binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction)


def kl_div(
    input: torch.Tensor,
    target: torch.Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> torch.Tensor:
    """`torch.nn.functional.kl_div`: input [*], logarithms, target like it."""
    if size_average is not None or reduce is not None:
        return stock.kl_div(input, target, size_average, reduce, reduction, log_target)
    if reduction == "mean" and not is_compiling():
        warnings.warn(_MEAN_OF_ELEMENTS, stacklevel=2)
    return ops.kl_div(input, target, reduction, log_target)


_MEAN_OF_ELEMENTS = (
    "kl_div: reduction 'mean' divides by the number of elements; the divergence is 'batchmean', which divides by the "
    "batch size alone, as 'mean' will in a later PyTorch"
)
