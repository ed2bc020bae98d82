"""`InnerProductDecoder`: Kipf and Welling, "Variational graph auto-encoders" (2016)."""

from __future__ import annotations

import torch

from nnzoo_fast import ops
from nnzoo_fast.graph import Graph


class InnerProductDecoder(torch.nn.Module):
    """How likely an edge is: sigmoid(<z[source], z[target]>). `torch_geometric.nn.InnerProductDecoder`."""

    def forward(self, z: torch.Tensor, edge_index: torch.Tensor | Graph, sigmoid: bool = True) -> torch.Tensor:
        """[N, C] and int64 [2, E] or a `Graph` -> probabilities [E], or logits without `sigmoid`."""
        graph = edge_index if isinstance(edge_index, Graph) else Graph(edge_index, z.shape[0])
        value = ops.sddmm(z, z, graph)
        return value.sigmoid() if sigmoid else value

    def forward_all(self, z: torch.Tensor, sigmoid: bool = True) -> torch.Tensor:
        """[N, C] -> all pairs [N, N]."""
        value = ops.linear(z, z)
        return value.sigmoid() if sigmoid else value
