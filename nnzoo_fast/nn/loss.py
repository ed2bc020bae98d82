"""`CrossEntropyLoss`, `BCEWithLogitsLoss` and `KLDivLoss`, on the operations."""

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


@drop_in(torch.nn.BCEWithLogitsLoss)
class BCEWithLogitsLoss(torch.nn.BCEWithLogitsLoss):
    """`torch.nn.BCEWithLogitsLoss`: input [*], target like it."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )


@drop_in(torch.nn.KLDivLoss)
class KLDivLoss(torch.nn.KLDivLoss):
    """`torch.nn.KLDivLoss`: input [*], logarithms, target like it."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
