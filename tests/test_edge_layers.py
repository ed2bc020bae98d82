"""The layers with networks on edges against PyTorch Geometric: `EdgeConv`, `NNConv`, `GraphNetwork`."""

import copy
import pickle

import pytest
import torch

from nnzoo_fast import Graph, nn, ops
from nnzoo_fast.nn.edge_conv import layers_of, small_network
from nnzoo_fast.ops.gather_scatter.segments import rows_of_edges

pyg = pytest.importorskip("torch_geometric.nn")

NODES, EDGES = 12, torch.randint(0, 12, (2, 50), generator=torch.Generator().manual_seed(0))
FEATURES = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))

L, S = torch.nn.Linear, torch.nn.Sequential
NETWORKS = {
    "linear": (True, lambda f, o: S(L(2 * f, o))),
    "linear-relu": (True, lambda f, o: S(L(2 * f, o), torch.nn.ReLU())),
    "two": (True, lambda f, o: S(L(2 * f, 9), torch.nn.ReLU(), L(9, o))),
    "two-gelu-nobias": (True, lambda f, o: S(L(2 * f, 9, bias=False), torch.nn.GELU(), L(9, o, bias=False))),
    "two-relu": (False, lambda f, o: S(L(2 * f, 9), torch.nn.Tanh(), L(9, o), torch.nn.ReLU())),
    "three": (False, lambda f, o: S(L(2 * f, 9), torch.nn.ReLU(), L(9, 9), torch.nn.ReLU(), L(9, o))),
    "norm": (False, lambda f, o: S(L(2 * f, 9), torch.nn.BatchNorm1d(9), torch.nn.ReLU(), L(9, o))),
    "norm-first": (False, lambda f, o: S(torch.nn.LayerNorm(2 * f), L(2 * f, o))),
    "no-sequential": (False, lambda f, o: L(2 * f, o)),
}


def gradients(layer, inputs, *others):
    """Output and all gradients."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    out = layer(*leaves, *others)
    out.backward(torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape).cos())
    return out, *(leaf.grad for leaf in leaves), *(parameter.grad for parameter in layer.parameters())


def close(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def edge_convs(network, aggr, **kwargs):
    layers = []
    for module in (nn, pyg):
        torch.manual_seed(3)
        layers.append(module.EdgeConv(NETWORKS[network][1](7, 5), aggr, **kwargs).double())
    return layers


@pytest.mark.parametrize("aggr", ["max", "add", "mean", "min"])
@pytest.mark.parametrize("network", NETWORKS)
def test_edge_conv_equals_pyg(network, aggr):
    ours, theirs = edge_convs(network, aggr)
    assert repr(ours) == repr(theirs)
    found, expected = ours.state_dict(), theirs.state_dict()
    assert list(found) == list(expected) and all(torch.equal(found[key], expected[key]) for key in expected)
    assert small_network(layers_of(ours.nn), "mean") is (NETWORKS[network][0])
    x = torch.randn(NODES, 7, dtype=torch.float64)
    expected = gradients(theirs, [x], EDGES)
    close(gradients(copy.deepcopy(ours), [x], EDGES), expected)
    close(gradients(ours, [x], Graph(EDGES, NODES)), expected)


@pytest.mark.parametrize("seed", range(6))
def test_edge_conv_equals_pyg_at_random(seed):
    generator = torch.Generator().manual_seed(seed)
    nodes, edges, features, hidden, outputs = torch.randint(1, 60, (5,), generator=generator).tolist()
    edge_index = torch.randint(0, nodes, (2, 8 * edges), generator=generator)
    kwargs = {"aggr": ["max", "add", "mean"][seed % 3], "flow": ["source_to_target", "target_to_source"][seed % 2]}
    layers = []
    for module in (nn, pyg):
        torch.manual_seed(seed)
        network = S(L(2 * features, hidden), torch.nn.ReLU(), L(hidden, outputs))
        layers.append(module.EdgeConv(network, **kwargs).double())
    x = torch.randn(nodes, features, dtype=torch.float64)
    close(*(gradients(layer, [x], edge_index) for layer in layers))


def test_a_wrong_half_is_noticed():
    """The negative control of the comparisons above."""
    ours, theirs = edge_convs("two", "max")
    with torch.no_grad():
        ours.nn[0].weight[:, 7:] *= 1.01
    x = torch.randn(NODES, 7, dtype=torch.float64)
    with pytest.raises(AssertionError):
        close(gradients(ours, [x], EDGES), gradients(theirs, [x], EDGES))


@pytest.mark.parametrize("network", ["two", "three", "norm-first"])
@pytest.mark.parametrize("aggr", ["max", "mean"])
def test_edge_conv_of_two_kinds_of_nodes(network, aggr):
    ours, theirs = edge_convs(network, aggr)
    pair = torch.randn(NODES, 7, dtype=torch.float64), torch.randn(NODES + 3, 7, dtype=torch.float64)
    torch.testing.assert_close(ours(pair, EDGES), theirs(pair, EDGES))


def test_edge_conv_keeps_no_row_of_an_edge():
    """What forward keeps for backward: of the size of the edges, only a bit for each message."""
    edges = torch.randint(0, 300, (2, 40_000))
    layer = nn.EdgeConv(S(L(16, 32), torch.nn.ReLU(), L(32, 64)))
    graph, kept = Graph(edges, 300), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        layer(torch.randn(300, 8, requires_grad=True), graph)
    assert kept and all(tensor.numel() <= 2 * 40_000 for tensor in kept), [tensor.shape for tensor in kept]


def test_hooks_and_subclasses_of_layers_see_their_edges():
    seen = []
    layer = nn.EdgeConv(S(L(14, 9), torch.nn.ReLU(), L(9, 5)))
    layer.nn[0].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    layer(torch.randn(NODES, 7), EDGES)
    assert seen == [(50, 9)]


def test_edge_conv_in_bfloat16_is_no_worse_than_pygs():
    ours, theirs = edge_convs("two", "mean")
    x = torch.randn(NODES, 7, dtype=torch.float64).bfloat16()
    truth = theirs.bfloat16().double()(x.double(), EDGES)
    ours.load_state_dict(theirs.state_dict())
    errors = [(layer.bfloat16()(x, EDGES).double() - truth).norm() for layer in (ours, theirs)]
    assert errors[0] <= 2 * errors[1] + 4 * torch.finfo(torch.bfloat16).eps * truth.norm()


@pytest.mark.parametrize("aggr", ["max", "add"])
@pytest.mark.parametrize("pair", [False, True])
def test_dynamic_edge_conv(aggr, pair):
    layer = nn.DynamicEdgeConv(S(L(6, 9), torch.nn.ReLU(), L(9, 5)), 4, aggr)
    x, y = torch.randn(30, 3), torch.randn(20, 3)
    batch, batch_y = torch.arange(30) // 10, torch.arange(20) // 7
    edges = ops.knn(x, y if pair else x, 4, batch, batch_y if pair else batch).flip(0)
    twin = pyg.EdgeConv(layer.nn, aggr)
    twin.load_state_dict(layer.state_dict())
    inputs, batches = ((x, y), (batch, batch_y)) if pair else (x, batch)
    torch.testing.assert_close(layer(inputs, batches), twin(inputs, edges))
    assert repr(layer) == f"DynamicEdgeConv(nn={layer.nn}, k=4)"
    with pytest.raises(ValueError, match="expected \\[N, in_channels\\]"):
        layer(torch.randn(2, 9, 3))


@pytest.mark.parametrize("kwargs", [{}, {"aggr": "mean"}, {"aggr": "max", "bias": False}, {"root_weight": False}])
@pytest.mark.parametrize("sizes", [7, (7, 4)])
def test_nn_conv_equals_pyg(kwargs, sizes):
    layers = []
    for module in (nn, pyg):
        torch.manual_seed(3)
        layers.append(module.NNConv(sizes, 5, S(L(3, 8), torch.nn.ReLU(), L(8, 35)), **kwargs).double())
    ours, theirs = layers
    assert repr(ours) == repr(theirs)
    found, expected = ours.state_dict(), theirs.state_dict()
    assert list(found) == list(expected) and all(torch.equal(found[key], expected[key]) for key in expected)
    x, attr = torch.randn(NODES, 7, dtype=torch.float64), FEATURES.double()
    if sizes == 7:
        expected = gradients(lambda_of(theirs), [x, attr], EDGES)
        close(gradients(lambda_of(copy.deepcopy(ours)), [x, attr], EDGES), expected)
        close(gradients(lambda_of(ours), [x, attr], Graph(EDGES, NODES)), expected)
    else:
        pair = x, torch.randn(NODES + 2, 4, dtype=torch.float64)
        torch.testing.assert_close(ours(pair, EDGES, attr), theirs(pair, EDGES, attr))
        torch.testing.assert_close(
            ours((x, None), EDGES, attr, size=(12, 14)), theirs((x, None), EDGES, attr, size=(12, 14))
        )


def lambda_of(layer):
    """`layer` with its edge features in front, where `gradients` wants what gets one."""

    class Turned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x, attr, edges):
            return self.layer(x, edges, attr)

    return Turned()


class EdgeModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = S(L(7 + 7 + 3 + 2, 6), torch.nn.ReLU(), L(6, 4))

    def forward(self, source, target, edge_attr, u, batch):
        return self.mlp(torch.cat([source, target, edge_attr, u[batch]], 1))


class NodeModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = S(L(7 + 4 + 2, 6), torch.nn.ReLU(), L(6, 5))

    def forward(self, x, edge_index, edge_attr, u, batch):
        edge_index = edge_index.edge_index if isinstance(edge_index, Graph) else edge_index
        received = ops.scatter(edge_attr, edge_index[1], 0, x.shape[0], "mean")
        return self.mlp(torch.cat([x, received, u[batch]], 1))


class GlobalModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = L(5 + 2, 2)

    def forward(self, x, edge_index, edge_attr, u, batch):
        return self.mlp(torch.cat([nn.global_mean_pool(x, batch), u], 1))


@pytest.mark.parametrize("parts", ["eng", "en", "e", "n", ""])
def test_graph_network_equals_pyg(parts):
    kinds = {"e": EdgeModel, "n": NodeModel, "g": GlobalModel}
    models = [kind() if letter in parts else None for letter, kind in kinds.items()]
    if parts == "n":
        models[1].mlp = S(L(7 + 3 + 2, 5))
    ours, theirs = nn.GraphNetwork(*models).double(), pyg.MetaLayer(*models).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs).replace("MetaLayer", "GraphNetwork")
    batch = torch.arange(NODES) // 5
    results = []
    for layer, edges in ((theirs, EDGES), (ours, EDGES), (ours, Graph(EDGES, NODES))):
        inputs = [
            t.double().requires_grad_() for t in (torch.ones(NODES, 7).cumsum(0).sin(), FEATURES, torch.eye(3, 2))
        ]
        out = layer(inputs[0], edges, inputs[1], inputs[2], batch)
        total = sum(part.sin().sum() for part in out)
        results.append((*out, *torch.autograd.grad(total, [*inputs, *layer.parameters()])))
    close(results[1], results[0])
    close(results[2], results[0])


@pytest.mark.parametrize("end", ["source", "target"])
def test_rows_of_edges(end):
    x = torch.randn(NODES, 2, 3, dtype=torch.float64, requires_grad=True)
    index = EDGES[0 if end == "source" else 1]
    assert torch.equal(rows_of_edges(x, Graph(EDGES, NODES), end), x[index])
    assert torch.autograd.gradcheck(lambda x: rows_of_edges(x, Graph(EDGES, NODES), end), x)


@pytest.mark.parametrize("name", ["two", "three"])
def test_copies_compile_and_export(name):
    torch._dynamo.reset()
    (layer, _), x, graph = edge_convs(name, "max"), torch.randn(NODES, 7, dtype=torch.float64), Graph(EDGES, NODES)
    expected = layer(x, graph)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x, graph), expected)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, graph), expected)
    torch.testing.assert_close(torch.export.export(layer, (x, graph)).module()(x, graph), expected)


@pytest.mark.parametrize("reduce", ["sum", "max"])
def test_segments_compile_and_export(reduce):
    torch._dynamo.reset()
    src, ptr = torch.randn(9, 3, requires_grad=True), torch.tensor([0, 2, 2, 6, 9])

    class Program(torch.nn.Module):
        def forward(self, src, ptr):
            return ops.segment_reduce(src, ptr, reduce)

    expected = Program()(src, ptr)
    compiled = torch.compile(Program(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(src, ptr), expected)
    one, other = (torch.autograd.grad(f(src, ptr).sin().sum(), src)[0] for f in (compiled, Program()))
    torch.testing.assert_close(one, other)
    exported = torch.export.export(Program(), (src, ptr)).module()
    torch.testing.assert_close(exported(src, ptr), expected)
    with pytest.raises((IndexError, RuntimeError)):
        compiled(src, torch.tensor([0, 5, 4, 9, 9]))


def test_training_is_pygs_step_by_step():
    """Two layers and Adam, ten steps: the same losses."""
    x, labels = torch.randn(NODES, 7, dtype=torch.float64), torch.randint(0, 3, (NODES,))
    losses = []
    for module in (nn, pyg):
        torch.manual_seed(0)
        networks = [S(L(2 * f, 8), torch.nn.ReLU(), L(8, o)) for f, o in ((7, 5), (5, 3))]
        layers = [module.EdgeConv(network).double() for network in networks]
        optimizer = torch.optim.Adam([parameter for layer in layers for parameter in layer.parameters()], 0.01)
        for _ in range(10):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(layers[1](layers[0](x, EDGES), EDGES), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    ours, theirs = losses[:10], losses[10:]
    assert ours[-1] < ours[0] and torch.allclose(torch.tensor(ours), torch.tensor(theirs), rtol=1e-6, atol=0)


def test_edge_conv_under_autocast_gives_what_its_linear_layers_give():
    layer = nn.EdgeConv(torch.nn.Sequential(torch.nn.Linear(8, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)))
    x, edges = torch.randn(6, 4), torch.tensor([[0, 1, 2, 3], [1, 2, 2, 0]])
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x, edges).dtype == torch.bfloat16
        assert layer(x.bfloat16(), edges).dtype == torch.bfloat16
    assert layer(x, edges).dtype == torch.float32


def passing_layers(depth, edge_dim, aggr, sizes=(7, 5)):
    """Two layers of one network: the second's `Joint` is watched, so that it sees every edge."""
    widths = [2 * sizes[0] + edge_dim, *[9] * (depth - 1), sizes[1]]
    layers = [layer for pair in zip(widths, widths[1:], strict=False) for layer in (L(*pair), torch.nn.Tanh())]
    network = S(*layers[:-1])
    made = [nn.MessagePassingLayer(nn.Joint(network), lambda h, m: m, aggr).double() for _ in range(2)]
    made[1].psi.register_forward_hook(lambda module, args, out: None)
    return made


@pytest.mark.parametrize("aggr", ["sum", "mean", "max", "min", ["sum", "std"]], ids=str)
@pytest.mark.parametrize("edge_dim", [0, 3])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_split_network_of_edges_gives_what_the_whole_gives(depth, edge_dim, aggr):
    fast, plain = passing_layers(depth, edge_dim, aggr)
    pair = torch.randn(NODES, 7, dtype=torch.float64), torch.randn(NODES + 2, 7, dtype=torch.float64)
    attr = [FEATURES.double()] * bool(edge_dim)
    for x in (pair[0], pair):
        graph = Graph(EDGES, (NODES, NODES if x is pair[0] else NODES + 2))
        torch.testing.assert_close(fast(x, graph, *attr), plain(x, graph, *attr))
        torch.testing.assert_close(fast(x, EDGES, *attr), plain(x, graph, *attr))
    with torch.no_grad():
        expected = plain(pair[0], EDGES, *attr)
        fast.psi.network[0].weight[:, 7:14] *= 1.01
    assert not torch.allclose(fast(pair[0], EDGES, *attr), expected)


def test_a_message_passing_layer_keeps_no_row_of_an_edge():
    edges = torch.randint(0, 300, (2, 40_000))
    layer = nn.MessagePassingLayer(nn.Joint(S(L(16, 32), torch.nn.ReLU(), L(32, 64))), lambda h, m: m, "max")
    graph, kept = Graph(edges, 300), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        layer(torch.randn(300, 8, requires_grad=True), graph)
    assert kept and all(tensor.numel() <= 2 * 40_000 for tensor in kept), [tensor.shape for tensor in kept]


def test_features_of_other_edges_are_refused():
    layer, _ = passing_layers(2, 3, "sum")
    with pytest.raises(ValueError, match=r"edge_attr is \[49, 3\], expected 50 rows"):
        layer(torch.randn(NODES, 7, dtype=torch.float64), EDGES, FEATURES[1:].double())
    with pytest.raises(IndexError, match=r"^MessagePassingLayer: x is \[7\], expected nodes in dimension -2"):
        layer(torch.randn(7, dtype=torch.float64), EDGES)


def test_edges_of_several_copies_have_features():
    layer, _ = passing_layers(2, 3, "sum")
    x, attr = torch.randn(2, NODES, 7, dtype=torch.float64), torch.randn(2, *FEATURES.shape, dtype=torch.float64)
    both = layer(x, EDGES, attr)
    torch.testing.assert_close(both, torch.stack([layer(*each) for each in zip(x, [EDGES] * 2, attr, strict=True)]))
    with pytest.raises(ValueError, match=r"edge_attr is \[2, 49, 3\], expected 50 rows"):
        layer(x, EDGES, attr[:, 1:])


def test_matrices_of_edges_serve_several_steps():
    layer, x = nn.NNConv(7, 7, S(L(3, 49))), torch.randn(NODES, 7)
    seen = []
    layer.nn.register_forward_hook(lambda module, args, out: seen.append(out))
    expected = layer(layer(x, EDGES, FEATURES), EDGES, FEATURES)
    matrices = layer.nn(FEATURES)
    torch.testing.assert_close(layer(layer(x, EDGES, matrices=matrices), EDGES, matrices=matrices), expected)
    assert len(seen) == 3


def test_a_message_passing_layer_compiles():
    torch._dynamo.reset()
    layer, _ = passing_layers(2, 3, "sum")
    call = torch.randn(NODES, 7, dtype=torch.float64), Graph(EDGES, NODES), FEATURES.double()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*call), layer(*call))


def test_a_message_passing_layer_takes_several_graphs_of_the_same_edges():
    layer, _ = passing_layers(2, 0, "sum")
    x = torch.randn(3, NODES, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(x, EDGES), torch.stack([layer(each, EDGES) for each in x]))
