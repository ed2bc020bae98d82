"""`Embedding` and `EmbeddingBag`, on `ops.embedding` and `ops.embedding_bag`."""

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


@drop_in(torch.nn.EmbeddingBag)
class EmbeddingBag(torch.nn.EmbeddingBag):
    """`torch.nn.EmbeddingBag`: integer [B, N], or [E] with offsets [B] -> [B, embedding_dim]."""

    def forward(
        self,
        input: torch.Tensor,
        offsets: torch.Tensor | None = None,
        per_sample_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        return ops.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )
