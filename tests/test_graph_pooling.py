"""Nodes pooled: `Set2Set`, `TopKPooling` and `SAGPooling` against PyTorch Geometric."""

import pytest
import torch

from nnzoo_fast import Graph, nn

pyg = pytest.importorskip("torch_geometric.nn")

NODES, SIZES = 17, (6, 1, 10)
BATCH = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))
_drawn = torch.Generator().manual_seed(0)
EDGES = torch.cat(
    [torch.randint(0, n, (2, 4 * n), generator=_drawn) + s for n, s in zip(SIZES, (0, 6, 7), strict=True)], 1
)
ATTR = torch.randn(EDGES.shape[1], 3, generator=_drawn)
POOLINGS = {
    "topk": lambda m: m.TopKPooling(7),
    "topk-k": lambda m: m.TopKPooling(7, ratio=3, nonlinearity=torch.sigmoid),
    "topk-score": lambda m: m.TopKPooling(7, min_score=0.2, multiplier=2.0),
    "sag": lambda m: m.SAGPooling(7, ratio=0.8),
    "sag-gcn": lambda m: m.SAGPooling(7, 0.5, m.GCNConv, nonlinearity="sigmoid"),
    "sag-gat-score": lambda m: m.SAGPooling(7, GNN=m.GATConv, min_score=0.3, heads=1),
}


def both(make):
    made = []
    for module in (nn, pyg):
        torch.manual_seed(3)
        made.append(make(module).double())
    ours, theirs = (layer.state_dict() for layer in made)
    assert list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert repr(made[0]) == repr(made[1])
    return made


@pytest.mark.parametrize("make", POOLINGS.values(), ids=POOLINGS)
def test_pooling_equals_pyg(make):
    ours, theirs = both(make)
    x, attr = torch.randn(NODES, 7, dtype=torch.float64), ATTR.double()
    results = []
    for layer, edges in ((theirs, EDGES), (ours, EDGES), (ours, Graph(EDGES, NODES))):
        inputs = [tensor.clone().requires_grad_() for tensor in (x, attr)]
        pooled, graph, attributes, batch, nodes, score = layer(inputs[0], edges, inputs[1], BATCH)
        assert isinstance(graph, Graph) is isinstance(edges, Graph)
        edge_index = graph.edge_index if isinstance(graph, Graph) else graph
        loss = pooled.sin().sum() + attributes.cos().sum() + score.square().sum()
        grads = torch.autograd.grad(loss, [*inputs, *layer.parameters()])
        results.append((pooled, edge_index, attributes, batch, nodes, score, *grads))
    for found in results[1:]:
        for one, other in zip(found, results[0], strict=True):
            torch.testing.assert_close(one, other)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(ours(1.01 * x, EDGES, attr, BATCH)[0], results[0][0])


def test_a_pooled_graph_keeps_its_weights():
    layer, weight = nn.TopKPooling(7), torch.rand(EDGES.shape[1])
    graph = Graph(EDGES, NODES, edge_weight=weight)
    x, pooled, attr, batch, nodes, score = layer(torch.randn(NODES, 7), graph, None, BATCH)
    assert attr is None and pooled.num_nodes == x.shape[0] == len(nodes) and batch.bincount().tolist() == [3, 1, 5]
    assert torch.equal(pooled.edge_weight, graph.subgraph(nodes)[0].edge_weight)
    assert pooled.edge_index.numel() and torch.equal(batch[pooled.edge_index[0]], batch[pooled.edge_index[1]])


def test_the_earlier_of_equal_nodes_stays():
    layer, x = nn.TopKPooling(7, ratio=2), torch.ones(5, 7)
    assert layer(x, torch.empty(2, 0, dtype=torch.int64))[4].tolist() == [0, 1]
    assert layer(x[:0], torch.empty(2, 0, dtype=torch.int64))[0].shape == (0, 7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_counts_of_nodes_that_stay_are_not_rounded_to_bfloat16(dtype):
    x, none = torch.randn(601, 7).to(dtype), torch.empty(2, 0, dtype=torch.int64)
    assert nn.TopKPooling(7).to(dtype)(x, none)[0].shape == (301, 7)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}])
def test_set2set_equals_pyg(options):
    ours, theirs = both(lambda m: m.Set2Set(7, 3, **options))
    x, batch = torch.randn(NODES, 7, dtype=torch.float64), torch.tensor([1, 0, 0, 3] * 4 + [1])
    results = []
    for layer in (theirs, ours):
        nodes = x.clone().requires_grad_()
        index, order = batch.sort(stable=True)  # PyTorch Geometric takes groups in order alone
        out = layer(nodes, batch) if layer is ours else layer(nodes[order], index)
        results.append((out, *torch.autograd.grad(out.sin().sum(), [nodes, *layer.parameters()])))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(ours(x), theirs(x, torch.zeros(NODES, dtype=torch.int64)))
    assert ours(x, batch, 6).shape == (6, 14) and not ours(x, batch, 6)[4:, 7:].any()
    assert ours(x[:0], batch[:0], 2).shape == (2, 14)
    assert ours(x[:0], None, 0).shape == (0, 14) and ours(x[:0]).shape == (1, 14)
    with pytest.raises(IndexError):
        ours(x, None, 0)


def test_set2set_under_autocast_equals_pyg():
    ours, theirs = (layer.float() for layer in both(lambda m: m.Set2Set(7, 3)))
    x = torch.randn(NODES, 7)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = ours(x, BATCH), theirs(x, BATCH)
    assert found.dtype is expected.dtype
    exact = ours(x, BATCH)
    assert (found - exact).norm() <= 2 * (expected - exact).norm() + 4 * torch.finfo(torch.bfloat16).eps * exact.norm()


@pytest.mark.parametrize("name", ["add", "mean", "max"])
def test_one_graph_may_be_empty_and_others_beside_it(name):
    pool, x = getattr(nn, f"global_{name}_pool"), torch.randn(5, 7)
    assert torch.equal(pool(x[:0], None), torch.zeros(1, 7)) and torch.equal(pool(x[:0, 0], None), torch.zeros(1))
    found = pool(x, None, 3)
    torch.testing.assert_close(found[:1], pool(x, None))
    assert found.shape == (3, 7) and not found[1:].any()


WRONG_EDGES = {
    "negative": (torch.tensor([[0, 1], [1, -1]]), IndexError, "TopKPooling: edge_index holds a node out of range"),
    "large": (torch.tensor([[0, 5], [1, 1]]), IndexError, "out of range, expected 0 <= i < 5"),
    "rows": (torch.zeros(3, 2, dtype=torch.int64), ValueError, r"TopKPooling: edge_index is \[3, 2\]"),
    "floats": (torch.zeros(2, 2), ValueError, "float32, expected an integer"),
}


@pytest.mark.parametrize("edge_index, kind, message", WRONG_EDGES.values(), ids=WRONG_EDGES)
def test_edges_of_a_pooling_are_checked(edge_index, kind, message):
    with pytest.raises(kind, match=message):
        nn.TopKPooling(7)(torch.randn(5, 7), edge_index)


def test_wrong_poolings():
    with pytest.raises(ValueError, match="both None"):
        nn.TopKPooling(7, ratio=None)
    with pytest.raises(ValueError, match="nonlinearity is 'sine', expected tanh"):
        nn.SAGPooling(7, nonlinearity="sine")
    with pytest.raises(ValueError, match=r"x is \[5, 6\], expected \[N, 7\]"):
        nn.Set2Set(7, 2)(torch.randn(5, 6))
