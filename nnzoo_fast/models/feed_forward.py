"""Feed-forward networks: every value of a layer sees every value of the layer before."""

from collections.abc import Sequence

import torch

from nnzoo_fast import nn


class MLP(nn.Module):
    """Linear layers with ReLU between them; by default the classifier of 28x28 images from PyTorch's quickstart.

    The parameters are `linear_relu_stack.{0,2,4}.{weight,bias}` there and here.

    Args:
        sizes: the number of values of the input, of each hidden layer and of the output.
    """

    def __init__(self, sizes: Sequence[int] = (784, 512, 512, 10)):
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes must name at least an input and an output, got {list(sizes)}")
        layers = []
        for size, next_size in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(size, next_size), nn.ReLU()]
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(*layers[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, *] with sizes[0] values in each of N examples -> logits [N, sizes[-1]]."""
        return self.linear_relu_stack(self.flatten(x))
