"""`CrossEntropyLoss`, on `ops.cross_entropy`."""

import torch

from nnzoo_fast.nn import functional
from nnzoo_fast.nn.drop_in import drop_in


@drop_in(torch.nn.CrossEntropyLoss)
class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """`torch.nn.CrossEntropyLoss`: input [N, C, *size], target [N, *size] or like input."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
