"""The graph layers beside GCNConv against PyTorch Geometric: weights, outputs, gradients; what attention promises."""

import copy
import pickle

import pytest
import torch
from built import needs_kernels

import nnzoo_fast
from nnzoo_fast import Graph, nn, ops

pyg = pytest.importorskip("torch_geometric.nn")

NODES, EDGES = 12, torch.randint(0, 12, (2, 50), generator=torch.Generator().manual_seed(0))
FEATURES = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))

ATTENTION = [
    {},
    {"heads": 3},
    {"heads": 3, "concat": False, "bias": False},
    {"heads": 2, "edge_dim": 3},
    {"edge_dim": 3, "fill_value": 0.5},
    {"residual": True, "negative_slope": 0.0},
    {"add_self_loops": False, "flow": "target_to_source"},
]
LAYERS = [
    *(("GATConv", kwargs) for kwargs in ATTENTION),
    *(("GATv2Conv", kwargs) for kwargs in [*ATTENTION, {"share_weights": True}]),
    *(("SAGEConv", kwargs) for kwargs in [{}, {"aggr": "max"}, {"aggr": ["mean", "std"]}, {"root_weight": False}]),
    ("SAGEConv", {"project": True, "normalize": True, "bias": False}),
    *(("GraphConv", kwargs) for kwargs in [{}, {"aggr": "max", "bias": False}]),
    *(("GINConv", kwargs) for kwargs in [{}, {"eps": 0.5}, {"eps": 0.5, "train_eps": True}]),
]
PARAMETERS = [pytest.param(name, kwargs, id=f"{name}-{kwargs}") for name, kwargs in LAYERS]


def made(module, name, kwargs, sizes=(7, 5)):
    """A layer of ours or of PyG, from the same seed."""
    torch.manual_seed(3)
    if name == "GINConv":
        sizes = (torch.nn.Sequential(torch.nn.Linear(sizes[0], 9), torch.nn.ReLU(), torch.nn.Linear(9, sizes[1])),)
    return getattr(module, name)(*sizes, **kwargs)


def compare(ours, theirs, x, graph, *others):
    results = []
    for layer, edges in ((ours, graph), (theirs, graph.edge_index if isinstance(graph, Graph) else graph)):
        inputs = [tensor.clone().requires_grad_() for tensor in (x, *others)]
        out = layer(inputs[0], edges, *inputs[1:])
        out.backward(torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape).cos())
        results.append((out, *(tensor.grad for tensor in inputs), *(p.grad for p in layer.parameters())))
        layer.zero_grad()
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name, kwargs", PARAMETERS)
def test_equals_pyg(name, kwargs):
    ours, theirs = (made(module, name, kwargs) for module in (nn, pyg))
    assert repr(ours) == repr(theirs)
    found, expected = ours.state_dict(), theirs.state_dict()
    assert list(found) == list(expected) and all(torch.equal(found[key], expected[key]) for key in expected)
    ours, theirs, x = ours.double(), theirs.double(), torch.randn(NODES, 7, dtype=torch.float64)
    others = [FEATURES.double()] if "edge_dim" in kwargs else []
    compare(ours, theirs, x, EDGES, *others)
    compare(ours, theirs, x, Graph(EDGES, NODES), *others)


def test_graph_conv_weighs_edges():
    ours, theirs = (made(module, "GraphConv", {}).double() for module in (nn, pyg))
    x, weight = torch.randn(NODES, 7, dtype=torch.float64), torch.rand(50, dtype=torch.float64)
    compare(ours, theirs, x, EDGES, weight)
    compare(ours, theirs, x, Graph(EDGES, NODES), weight)
    torch.testing.assert_close(ours(x, Graph(EDGES, NODES, edge_weight=weight)), theirs(x, EDGES, weight))


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv", "SAGEConv", "GraphConv"])
def test_two_kinds_of_nodes(name):
    kwargs = {} if name in ("SAGEConv", "GraphConv") else {"heads": 2, "add_self_loops": False}
    ours, theirs = (made(module, name, kwargs, ((7, 4), 5)) for module in (nn, pyg))
    pair = torch.randn(NODES, 7), torch.randn(NODES + 3, 4)
    torch.testing.assert_close(ours(pair, EDGES), theirs(pair, EDGES))
    if name != "GATv2Conv":
        alone = (pair[0], None)
        torch.testing.assert_close(ours(alone, EDGES, size=(12, 15)), theirs(alone, EDGES, size=(12, 15)))


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv", "SAGEConv", "GraphConv", "GINConv", "EdgeConv", "NNConv"])
def test_pairs_of_either_flow(name, flow):
    """The first part is the senders' and the second the receivers', whichever way messages flow."""
    kwargs = {"flow": flow, **({"add_self_loops": False} if "GAT" in name else {})}
    layers = []
    for module in (nn, pyg):
        torch.manual_seed(3)
        network = torch.nn.Sequential(torch.nn.Linear({"EdgeConv": 14, "NNConv": 3}.get(name, 7), 35))
        sizes = {"GINConv": (network,), "EdgeConv": (network,), "NNConv": ((7, 7), 5, network)}.get(name, ((7, 7), 5))
        layers.append(getattr(module, name)(*sizes, **kwargs).double())
    ours, theirs = layers
    pair = torch.randn(2, NODES, 7, dtype=torch.float64).unbind()
    others = (FEATURES.double(),) if name == "NNConv" else ()
    expected = theirs(pair, EDGES, *others)
    torch.testing.assert_close(ours(pair, EDGES, *others), expected)
    torch.testing.assert_close(ours(pair, Graph(EDGES, NODES), *others), expected)
    assert not torch.allclose(ours(pair[::-1], EDGES, *others), expected)


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
def test_weights_of_attention_on_request(name):
    ours, theirs = (made(module, name, {"heads": 2, "edge_dim": 3}) for module in (nn, pyg))
    x = torch.randn(NODES, 7)
    (out, (edges, weights)), (peer, (their_edges, their_weights)) = (
        layer(x, EDGES, FEATURES, return_attention_weights=True) for layer in (ours, theirs)
    )
    torch.testing.assert_close(out, peer)
    torch.testing.assert_close(weights, their_weights)
    assert torch.equal(edges, their_edges)
    torch.testing.assert_close(out, ours(x, EDGES, FEATURES))


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
def test_dropout_of_attention(name):
    """In training a part of the weights is gone, repeatably; the mean over many draws is what evaluation gives."""
    layer, x, graph = made(nn, name, {"dropout": 0.5}), torch.randn(NODES, 7), Graph(EDGES, NODES)
    torch.manual_seed(5)
    first = layer(x, graph)
    torch.manual_seed(5)
    assert torch.equal(layer(x, graph), first) and not torch.equal(layer(x, graph), first)
    with torch.no_grad():
        mean = torch.stack([layer(x, graph) for _ in range(2000)]).mean(0)
    torch.testing.assert_close(mean, layer.eval()(x, graph), rtol=0.1, atol=0.1)


@needs_kernels
@pytest.mark.parametrize("function", [ops.gat, ops.gatv2])
@pytest.mark.parametrize("dropout", [0.0, 0.4, 1.0])
def test_attention_on_any_number_of_threads(function, dropout, monkeypatch):
    """Bit-equal, with hubs, and with dropout equal to the reference's."""
    edges = torch.randint(0, 300, (2, 6000))
    edges[1, :2000], edges[0, 3000:4000] = 7, 3
    graph, x = Graph(edges, 300), torch.randn(300, 3, 7, dtype=torch.float64, requires_grad=True)
    shapes = [(300, 3), (300, 3)] if function is ops.gat else [(300, 3, 7), (3, 7)]
    inputs = [x, *(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)]

    def results(backend):
        torch.manual_seed(1)
        out = function(*inputs, graph, dropout=dropout, backend=backend)
        return out, *torch.autograd.grad(out.sin().sum(), inputs)

    expected = None
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        found = results("cpu")
        expected = expected or found
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    for one, other in zip(expected, results("reference"), strict=True):
        torch.testing.assert_close(one, other)


@needs_kernels
@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
def test_attention_stays_far_from_the_memory_of_its_messages(name):
    """What forward keeps for backward: nothing of the size of the edges."""
    count, heads, channels = 40_000, 4, 16
    graph = Graph(torch.randint(0, 200, (2, count)), 200)
    layer, x = made(nn, name, {"heads": heads, "add_self_loops": False}, (8, channels)), torch.randn(200, 8)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        layer(x, graph)
    assert kept and all(tensor.numel() <= count for tensor in kept), [tensor.shape for tensor in kept]


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv", "SAGEConv", "GINConv"])
def test_copies_compile_and_export(name):
    torch._dynamo.reset()
    layer, x, graph = made(nn, name, {}), torch.randn(NODES, 7), Graph(EDGES, NODES)
    expected = layer(x, graph)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x, graph), expected)
    compiled = torch.compile(layer, fullgraph=name not in ("GATConv", "GATv2Conv"), backend="aot_eager")
    torch.testing.assert_close(compiled(x, graph), expected)


def test_wrong_calls():
    x = torch.randn(NODES, 7)
    with pytest.raises(ValueError, match="aggr"):
        nn.GATConv(7, 5, aggr="max")
    with pytest.raises(ValueError, match="edge_attr"):
        nn.GATConv(7, 5, edge_dim=3)(x, EDGES, FEATURES[:3])
    for layer in (nn.GATConv(7, 5), nn.GATv2Conv(7, 5)):
        with pytest.raises(ValueError, match=r"features are \[2, \d+, 7\]"):
            layer(torch.stack([x, x]), EDGES)
    with pytest.raises(IndexError, match="edge_index"):
        nn.GATv2Conv(7, 5)(x, EDGES + 3)
    with pytest.raises(ValueError, match="edge_attr was given, expected None without an edge_dim"):
        nn.GATv2Conv(7, 5)(x, EDGES, FEATURES)
    with pytest.raises(AssertionError):
        pyg.GATv2Conv(7, 5)(x, EDGES, FEATURES)
    torch.manual_seed(0)
    layer = nn.GATConv(7, 5)
    assert torch.equal(layer(x, EDGES, FEATURES), layer(x, EDGES))
    with pytest.raises(ValueError, match="aggr"):
        nn.SAGEConv(7, 5, aggr="median")


def test_accelerated_embedding_scales_long_rows_in_place():
    stock = torch.nn.Embedding(20, 6, max_norm=1.0)
    ours = nnzoo_fast.accelerate(copy.deepcopy(stock))
    assert type(ours) is nn.Embedding
    index = torch.randint(0, 20, (9,))
    torch.testing.assert_close(ours(index), stock(index))
    assert torch.equal(ours.weight, stock.weight) and bool((ours.weight[index].norm(dim=1) < 1 + 1e-5).all())


@pytest.mark.parametrize("options", [{"scale_grad_by_freq": True}, {"sparse": True}], ids=str)
def test_bags_that_stock_torch_keeps(options):
    weight, index = torch.randn(9, 4, requires_grad=True), torch.randint(0, 9, (12,))
    offsets = torch.tensor([0, 5, 5])
    found, expected = (
        function(index, weight, offsets, **options)
        for function in (ops.embedding_bag, torch.nn.functional.embedding_bag)
    )
    assert torch.equal(found, expected) and type(found.grad_fn) is type(expected.grad_fn)


@pytest.mark.parametrize("name", ["global_add_pool", "global_mean_pool", "global_max_pool"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (2, 7, 3)])
def test_pools_equal_pyg(name, shape):
    x, batch = torch.randn(shape), torch.tensor([0, 0, 0, 2, 2, 3, 3])
    ours, theirs = getattr(nn, name), getattr(pyg, name)
    for args in ((x, batch), (x, batch, 6), (x, None)):
        if args[1] is not None or len(shape) > 1:
            torch.testing.assert_close(ours(*args), theirs(*args))
    nothing = x[..., :0, :] if len(shape) > 1 else x[:0]
    assert torch.equal(ours(nothing, None), torch.zeros(ours(x, None).shape))
    if name == "global_add_pool" and len(shape) > 1:
        assert torch.equal(ours(nothing, None), theirs(nothing, None))


@pytest.mark.parametrize("reduce", ["sum", "add", "mean", "max", "min", "var"])
def test_segments(reduce):
    src, ptr = torch.randn(9, 3, dtype=torch.float64, requires_grad=True), torch.tensor([0, 2, 2, 6, 9])
    index = torch.tensor([0, 0, 2, 2, 2, 2, 3, 3, 3])
    name = {"add": "sum"}.get(reduce, reduce)
    torch.testing.assert_close(ops.segment_reduce(src, ptr, reduce), ops.scatter(src, index, 0, 4, name))
    assert torch.autograd.gradcheck(lambda x: ops.segment_reduce(x, ptr, reduce), src)
    for wrong in ([0, 3], [0, 5, 4, 9], [1, 9], []):
        with pytest.raises(ValueError, match="ptr"):
            ops.segment_reduce(src, torch.tensor(wrong, dtype=torch.int64))
    with pytest.raises(ValueError, match="reduce"):
        ops.segment_reduce(src, ptr, "median")


@needs_kernels
@pytest.mark.parametrize("name", ["gat", "gatv2", "edge_softmax", "sddmm"])
@pytest.mark.parametrize("which, value", [("in_source", 99), ("in_edge", -1), ("in_start", 77), ("out_target", 99)])
def test_a_graph_whose_tensors_were_changed_is_refused(name, which, value):
    graph = Graph(EDGES, NODES)
    getattr(graph, which)[3] = value
    x, score = torch.randn(NODES, 2, 3, requires_grad=True), torch.randn(NODES, 2, requires_grad=True)
    calls = {
        "gat": lambda: ops.gat(x, score, score, graph, backend="cpu"),
        "gatv2": lambda: ops.gatv2(x, x, x[0], graph, backend="cpu"),
        "edge_softmax": lambda: ops.edge_softmax(score[EDGES[0]], graph, backend="cpu"),
        "sddmm": lambda: ops.sddmm(x, x, graph, backend="cpu"),
    }
    if which == "out_target":
        if name == "edge_softmax":
            return calls[name]().sum().backward()  # which doesn't read it
        out = calls[name]()
        with pytest.raises(IndexError, match="changed"):
            out.sum().backward()
    else:
        with pytest.raises(IndexError, match="changed"):
            calls[name]()


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv", "SAGEConv", "GINConv"])
def test_training_is_pygs_step_by_step(name):
    """Two layers and Adam, twenty steps: the same losses."""
    x, labels = torch.randn(NODES, 7, dtype=torch.float64), torch.randint(0, 3, (NODES,))
    losses = []
    for module in (nn, pyg):
        heads = {"heads": 2, "concat": False} if "GAT" in name else {}
        layers = [made(module, name, heads, sizes).double() for sizes in ((7, 5), (5, 3))]
        optimizer = torch.optim.Adam([parameter for layer in layers for parameter in layer.parameters()], 0.01)
        for _ in range(20):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(layers[1](layers[0](x, EDGES).relu(), EDGES), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    ours, theirs = losses[:20], losses[20:]
    assert ours[-1] < ours[0] and torch.allclose(torch.tensor(ours), torch.tensor(theirs), rtol=1e-6, atol=0)
