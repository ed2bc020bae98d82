"""`Set2Set`: Vinyals et al., "Order matters: sequence to sequence for sets" (ICLR 2016)."""

from __future__ import annotations

import torch

from nnzoo_fast import ops
from nnzoo_fast.nn.global_pool import members
from nnzoo_fast.nn.recurrent import LSTM


class Set2Set(torch.nn.Module):
    """A vector for each graph's nodes, whatever their order. `torch_geometric.nn.Set2Set`.

    An LSTM asks a question q, attention over the nodes answers it with r = sum of softmax(<x, q>) x, and [q, r] is what
    the LSTM reads next, first zeros.

    Args:
        in_channels: features of a node.
        processing_steps: questions that are asked.
        kwargs: other arguments of `LSTM`, such as `num_layers`.

    Shapes:
        x [N, in_channels]; batch int64 [N], the graph of each node, None: one graph; size the number of graphs, by
        default the largest of `batch` plus 1 -> [size, 2 * in_channels], r = 0 where a graph has no nodes.
    """

    def __init__(self, in_channels: int, processing_steps: int, **kwargs):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, 2 * in_channels
        self.processing_steps = processing_steps
        self.lstm = LSTM(self.out_channels, in_channels, **kwargs)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the LSTM's parameters anew."""
        self.lstm.reset_parameters()

    def forward(self, x: torch.Tensor, batch: torch.Tensor | None = None, size: int | None = None) -> torch.Tensor:
        if x.dim() != 2 or x.shape[1] != self.in_channels:
            raise ValueError(f"Set2Set: x is {list(x.shape)}, expected [N, {self.in_channels}]")
        if batch is None:
            batch, size = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device), 1 if size is None else size
        graph = members(batch, size)
        state = (x.new_zeros(self.lstm.num_layers, graph.num_targets, self.in_channels),) * 2
        answer = x.new_zeros(graph.num_targets, self.out_channels)
        for _ in range(self.processing_steps):
            question, state = self.lstm(answer[None], state)
            question = question[0].to(x.dtype)  # of autocast's, where the LSTM has one
            weights = ops.edge_softmax(ops.sddmm(x, question, graph), graph)
            answer = torch.cat([question, ops.gather_scatter(x, graph, weights)], dim=-1)
        return answer

    def __repr__(self) -> str:
        return f"Set2Set({self.in_channels}, {self.out_channels})"
