"""GCN and GAT train on Cora as PyTorch Geometric's do, step by step; `bench/cora.py` compares with dropout."""

import os

import pytest
import torch

from bench import cora
from nnzoo_fast import Graph, data, nn

pyg = pytest.importorskip("torch_geometric.nn")
REAL = os.environ.get("NNZOO_DATA")


def trained(layers, kind, graph, edges, steps, scale=1.0):
    """The losses of training without dropout; `scale` multiplies what the first layer gives."""
    torch.manual_seed(0)
    sizes = graph.features.shape[1], graph.classes
    weights = cora.Network(pyg, kind, *sizes, dropout=0.0).state_dict()
    network = cora.Network(layers, kind, *sizes, dropout=0.0)
    network.load_state_dict(weights)
    network.first.register_forward_hook(lambda layer, inputs, output: scale * output)
    found = torch.tensor(list(cora.losses(network, graph, edges, steps)))
    return found, cora.accuracy(network, graph, edges)


@pytest.mark.skipif(not REAL, reason="NNZOO_DATA names no folder of real data")
@pytest.mark.parametrize("kind", ["GCN", "GAT"])
def test_training_is_pygs_step_by_step(kind):
    graph = data.graph(REAL)
    edges = Graph(graph.edge_index, len(graph.labels))
    ours, accuracy = trained(nn, kind, graph, edges, 40)
    theirs, expected = trained(pyg, kind, graph, graph.edge_index, 40)
    assert ours[-1] < 0.9 * ours[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)
    assert accuracy == pytest.approx(expected, abs=0.002) and accuracy > 0.6


def test_a_layer_one_percent_off_is_noticed(monkeypatch):
    """Negative control, on the graph that needs no folder."""
    monkeypatch.delenv("NNZOO_DATA", raising=False)
    graph = data.graph()
    edges = Graph(graph.edge_index, len(graph.labels))
    right, wrong = (trained(nn, "GAT", graph, edges, 20, scale)[0] for scale in (1.0, 1.01))
    assert not torch.allclose(right, wrong, rtol=1e-4, atol=0)
