"""`Dropout`, on `ops.dropout`."""

import torch

from nnzoo_fast.nn import functional
from nnzoo_fast.nn.drop_in import drop_in


@drop_in(torch.nn.Dropout)
class Dropout(torch.nn.Dropout):
    """`torch.nn.Dropout`: any shape -> the same; in place it is torch's own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.dropout(input, self.p, self.training, self.inplace)
