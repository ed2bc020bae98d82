"""`Linear`, on `ops.linear`."""

import torch

from nnzoo_fast import ops
from nnzoo_fast.nn.drop_in import drop_in
from nnzoo_fast.nn.packed import Packed, packs
from nnzoo_fast.ops.linear import packed


@drop_in(torch.nn.Linear)
class Linear(torch.nn.Linear):
    """`torch.nn.Linear`: [*, in_features] -> [*, out_features]."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return ops.linear(input, self.weight, self.bias)

    def activated(self, input: torch.Tensor, activation: str, residual: torch.Tensor | None = None) -> torch.Tensor:
        """activation(forward(input)) + residual in one kernel; `activation` is a name that `ops.linear` knows."""
        return ops.linear(input, self.weight, self.bias, activation, residual)


@drop_in(torch.nn.LazyLinear)
class LazyLinear(torch.nn.LazyLinear):
    """`torch.nn.LazyLinear`, which becomes our `Linear` at its first call."""

    cls_to_become = Linear


@packs(Linear)
class PackedLinear(Packed, Linear):
    """What `pack` makes of a `Linear`."""

    @staticmethod
    def make_copy(layer: Linear) -> packed.PackedWeight | None:
        return packed.PackedWeight(layer.weight) if packed.supports(layer.weight)[0] else None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.activated(input, "none")

    def activated(self, input: torch.Tensor, activation: str, residual: torch.Tensor | None = None) -> torch.Tensor:
        copy = vars(self).get("_packed")  # another thread may take copy and class away meanwhile
        if copy is not None and copy.suits(input, self.weight, self.bias, residual):
            return copy.linear(input, self.bias, activation, residual)
        return Linear.activated(self, input, activation, residual)
