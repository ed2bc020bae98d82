"""`Softmax` and `LogSoftmax`, on `ops.softmax` and `ops.log_softmax`."""

import torch

from nnzoo_fast.nn import functional
from nnzoo_fast.nn.drop_in import drop_in


@drop_in(torch.nn.Softmax)
class Softmax(torch.nn.Softmax):
    """`torch.nn.Softmax`: any shape, along `dim`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.softmax(input, self.dim, _stacklevel=5)


@drop_in(torch.nn.LogSoftmax)
class LogSoftmax(torch.nn.LogSoftmax):
    """`torch.nn.LogSoftmax`: any shape, along `dim`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.log_softmax(input, self.dim, _stacklevel=5)
