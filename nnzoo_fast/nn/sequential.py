"""`Sequential`, which runs a `Linear` and the activation behind it as one kernel."""

import torch

from nnzoo_fast.nn.activated import activation_name, is_plain_linear
from nnzoo_fast.nn.drop_in import drop_in


@drop_in(torch.nn.Sequential)
class Sequential(torch.nn.Sequential):
    """`torch.nn.Sequential`, in training and inference.

    Nothing is stored or changed: at each call, a `Linear` of ours and a following ReLU, GELU, SiLU, Tanh or Sigmoid
    become one, unless one of them is a subclass or has hooks.
    """

    def forward(self, input):
        layers = list(self._modules.values())
        last, position = len(layers) - 1, 0
        while position <= last:
            layer = layers[position]
            name = None
            if position < last and is_plain_linear(layer):
                name = activation_name(layers[position + 1])
            input = layer(input) if name is None else layer.activated(input, name)
            position += 1 if name is None else 2
        return input
