"""`Sequential`, which runs a `Linear` or a convolution and the activation behind it as one kernel."""

import torch

from nnzoo_fast.nn.activated import activation_name, can_activate
from nnzoo_fast.nn.drop_in import drop_in


@drop_in(torch.nn.Sequential)
class Sequential(torch.nn.Sequential):
    """`torch.nn.Sequential`, in training and inference.

    Nothing is stored or changed: at each call, a `Linear` or convolution of ours and a following ReLU, GELU, SiLU,
    Tanh or Sigmoid become one, unless one of them is a subclass or has hooks.
    """

    def forward(self, input):
        return run(layers_of(self), input)


def layers_of(module: torch.nn.Module) -> list[torch.nn.Module | None]:
    """What a `Sequential`, or a module that is one in other words (`_steps` names its layers), runs in turn."""
    children, steps = module._modules, getattr(module, "_steps", None)
    return list(children.values()) if steps is None else [children.get(name) for name in steps]


def run(layers: list[torch.nn.Module], input):
    """`input` through one layer after another."""
    position = 0
    while position < len(layers):
        input, position = step(layers, position, input)
    return input


def step(layers: list[torch.nn.Module], position: int, input) -> tuple:
    """What the layer at `position`, or it and its activation, make of `input`, and the position of the next."""
    layer = layers[position]
    if position + 1 < len(layers) and can_activate(layer):
        name = activation_name(layers[position + 1])
        if name is not None:
            return layer.activated(input, name), position + 2
    return layer(input), position + 1
