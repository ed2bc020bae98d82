"""A `Linear` or a convolution and the activation behind it as one kernel, where nobody could tell the difference."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules import module as hooks
from torch.nn.utils import parametrize

from nnzoo_fast.activations import ACTIVATIONS
from nnzoo_fast.nn import activation as layers
from nnzoo_fast.nn import functional_elementwise as elementwise
from nnzoo_fast.nn.conv import Conv1d, Conv2d, Conv3d
from nnzoo_fast.nn.linear import Linear
from nnzoo_fast.nn.packed import PACKED

_FUNCTIONS = {
    F.relu: "relu",
    torch.relu: "relu",
    F.gelu: "gelu",
    F.silu: "silu",
    torch.tanh: "tanh",
    F.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    F.sigmoid: "sigmoid",
    **{getattr(elementwise, name): name for name in ("relu", "gelu", "silu", "tanh", "sigmoid")},
}

_LAYERS: dict[type, str] = {
    getattr(module, layer): name
    for module in (torch.nn, layers)
    for layer, name in {"ReLU": "relu", "GELU": "gelu", "SiLU": "silu", "Tanh": "tanh", "Sigmoid": "sigmoid"}.items()
}


def activation_name(activation: Callable[[Tensor], Tensor]) -> str | None:
    """The name that our operations have for this function or layer, or None."""
    if not isinstance(activation, torch.nn.Module):
        return _FUNCTIONS.get(activation)
    if not unobserved(activation):
        return None
    name = _LAYERS.get(type(activation))
    return "gelu_tanh" if name == "gelu" and getattr(activation, "approximate", "none") == "tanh" else name


def register_activation(kind: type[torch.nn.Module], name: str) -> None:
    """Layers of exactly this type compute the activation `name`."""
    if name in ACTIVATIONS:
        _LAYERS[kind] = name


def unobserved(layer: torch.nn.Module) -> bool:
    """Whether calling `layer` runs its class's forward and nothing else: no hooks, no forward of its own."""
    watched = (
        layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
        or hooks._global_forward_hooks or hooks._global_forward_pre_hooks
        or hooks._global_backward_hooks or hooks._global_backward_pre_hooks
    )  # fmt: skip
    return not watched and "forward" not in layer.__dict__


_ACTIVATED = (Linear, PACKED[Linear], Conv1d, Conv2d, Conv3d)


def register_activated(kind: type[torch.nn.Module]) -> None:
    """Layers of exactly this type have a method `activated(input, activation)`, as `Linear` has."""
    global _ACTIVATED
    _ACTIVATED = (*_ACTIVATED, kind)


def can_activate(layer: torch.nn.Module) -> bool:
    """Whether `layer` is exactly our `Linear`, packed or parametrized, or a convolution of ours, and calling it runs
    nothing else."""
    if not isinstance(layer, _ACTIVATED):
        return False
    return parametrize.type_before_parametrizations(layer) in _ACTIVATED and unobserved(layer)


def activated(layer: torch.nn.Module, activation: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    """activation(layer(input))."""
    if can_activate(layer):
        name = activation_name(activation)
        if name is not None:
            return layer.activated(input, name)
    return activation(layer(input))
