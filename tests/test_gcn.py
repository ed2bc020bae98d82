"""The model GCN against PyTorch Geometric's, with the same weights."""

import pytest
import torch
import torch_geometric.nn as pyg

from nnzoo_fast import Graph, models


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_equals_pytorch_geometric(layers):
    peer, ours = pyg.models.GCN(13, 8, layers, 5).eval(), models.GCN(13, 8, layers, 5).eval()
    ours.load_state_dict(peer.state_dict())
    x, edge_index, weight = torch.randn(30, 13), torch.randint(0, 30, (2, 90)), torch.rand(90)
    torch.testing.assert_close(ours(x, edge_index), peer(x, edge_index))
    torch.testing.assert_close(ours(x, Graph(edge_index, 30), weight), peer(x, edge_index, weight))


def test_no_layers():
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        models.GCN(13, 8, 0, 5)
