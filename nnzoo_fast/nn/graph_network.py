"""`GraphNetwork`: Battaglia et al., "Relational inductive biases, deep learning, and graph networks" (2018)."""

from __future__ import annotations

import torch

from nnzoo_fast.graph import Graph
from nnzoo_fast.ops.gather_scatter.segments import rows_of_edges


class GraphNetwork(torch.nn.Module):
    """A block that updates edges, then nodes, then what belongs to whole graphs. `torch_geometric.nn.MetaLayer`.

    Args:
        edge_model: called as (x of each edge's source, x of its target, edge_attr, u, the graph of each edge), makes
            new edge_attr.
        node_model: called as (x, edge_index, edge_attr, u, batch) with the new edge_attr, makes new x.
        global_model: called like node_model with the new x and edge_attr, makes new u.

    Each may be None: then what it would update stays as it is.

    Shapes:
        x [N, *]; edge_index integer [2, E] or a `Graph`, which models are then called with; edge_attr [E, *]; u [B, *];
        batch int64 [N], the graph of each node -> (x, edge_attr, u).
    """

    def __init__(
        self,
        edge_model: torch.nn.Module | None = None,
        node_model: torch.nn.Module | None = None,
        global_model: torch.nn.Module | None = None,
    ):
        super().__init__()
        self.edge_model, self.node_model, self.global_model = edge_model, node_model, global_model
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Calls `reset_parameters` of the models that have it."""
        for model in (self.node_model, self.edge_model, self.global_model):
            if hasattr(model, "reset_parameters"):
                model.reset_parameters()

    def forward(
        self,
        x: torch.Tensor,
        edge_index: torch.Tensor | Graph,
        edge_attr: torch.Tensor | None = None,
        u: torch.Tensor | None = None,
        batch: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        if self.edge_model is not None:
            if isinstance(edge_index, Graph):
                ends = [rows_of_edges(x, edge_index, end) for end in ("source", "target")]
                senders = edge_index.edge_index[0]
            else:
                ends = [x.index_select(0, end) for end in edge_index]
                senders = edge_index[0]
            edge_attr = self.edge_model(*ends, edge_attr, u, batch if batch is None else batch[senders])
        if self.node_model is not None:
            x = self.node_model(x, edge_index, edge_attr, u, batch)
        if self.global_model is not None:
            u = self.global_model(x, edge_index, edge_attr, u, batch)
        return x, edge_attr, u

    def __repr__(self) -> str:
        models = ",\n".join(f"  {name}={getattr(self, name)}" for name in ("edge_model", "node_model", "global_model"))
        return f"{type(self).__name__}(\n{models}\n)"
