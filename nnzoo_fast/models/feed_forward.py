"""Feed-forward networks: every value of a layer sees every value of the layer before."""

from collections.abc import Callable, Sequence

import torch

from nnzoo_fast import nn


class MLP(nn.Module):
    """Linear layers with an activation between them; by default the classifier of 28x28 images from PyTorch's
    quickstart, 784-512-512-10 with ReLU: 669,706 parameters.

    A hidden layer is Linear, batch norm if asked for, activation, dropout if any; they stand in one `Sequential`, as
    `linear_relu_stack.{0,2,4}.{weight,bias}` there and here.

    Args:
        sizes: the number of values of the input, of each hidden layer and of the output.
        activation: makes a hidden layer's activation, such as `nn.GELU`.
        dropout: probability of dropping a value behind each hidden layer.
        batch_norm: normalise each hidden layer's values over the batch, before the activation.
        bias: whether linear layers have one.

    Raises:
        ValueError: fewer than two sizes, or `dropout` is no probability.
    """

    def __init__(
        self,
        sizes: Sequence[int] = (784, 512, 512, 10),
        activation: Callable[[], torch.nn.Module] = nn.ReLU,
        dropout: float = 0.0,
        batch_norm: bool = False,
        bias: bool = True,
    ):
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes must name at least an input and an output, got {list(sizes)}")
        *hidden, last = list(zip(sizes, sizes[1:], strict=False))
        layers = []
        for size, next_size in hidden:
            layers.append(nn.Linear(size, next_size, bias))
            layers += [nn.BatchNorm1d(next_size)] if batch_norm else []
            layers.append(activation())
            layers += [nn.Dropout(dropout)] if dropout else []
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(*layers, nn.Linear(*last, bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, *] with sizes[0] values in each of N examples -> logits [N, sizes[-1]]."""
        return self.linear_relu_stack(self.flatten(x))
