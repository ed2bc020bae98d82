"""The normalisation layers, on the operations of the same names."""

import torch

from nnzoo_fast import ops
from nnzoo_fast.nn.drop_in import drop_in


@drop_in(torch.nn.LayerNorm)
class LayerNorm(torch.nn.LayerNorm):
    """`torch.nn.LayerNorm`: [*, *normalized_shape] -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return ops.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


@drop_in(torch.nn.RMSNorm)
class RMSNorm(torch.nn.RMSNorm):
    """`torch.nn.RMSNorm`: [*, *normalized_shape] -> the same."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)


@drop_in(torch.nn.GroupNorm)
class GroupNorm(torch.nn.GroupNorm):
    """`torch.nn.GroupNorm`: [N, C, *] -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return ops.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
