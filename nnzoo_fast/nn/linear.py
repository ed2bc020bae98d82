"""`Linear`, on `ops.linear`."""

import torch

from nnzoo_fast import ops
from nnzoo_fast.nn.drop_in import drop_in


@drop_in(torch.nn.Linear)
class Linear(torch.nn.Linear):
    """`torch.nn.Linear`: [*, in_features] -> [*, out_features]."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return ops.linear(input, self.weight, self.bias)


@drop_in(torch.nn.LazyLinear)
class LazyLinear(torch.nn.LazyLinear):
    """`torch.nn.LazyLinear`, which becomes our `Linear` at its first call."""

    cls_to_become = Linear
