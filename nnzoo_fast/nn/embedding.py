"""`Embedding`, on `ops.embedding`."""

import torch

from nnzoo_fast import ops
from nnzoo_fast.nn.drop_in import drop_in


@drop_in(torch.nn.Embedding)
class Embedding(torch.nn.Embedding):
    """`torch.nn.Embedding`: integer [*] -> [*, embedding_dim]."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return ops.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )
