"""`MessagePassing` and `GCNConv` against PyTorch Geometric, and what they add: Graphs, fusion, compilation."""

import copy
import pickle

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import nnzoo_fast
from nnzoo_fast import Graph, nn, ops

pyg = pytest.importorskip("torch_geometric.nn")

EDGES = torch.tensor([[0, 1, 2, 3, 3, 0, 2, 4, 1], [1, 0, 1, 3, 3, 4, 2, 0, 1]])
NODES = 6


def both(channels=(5, 4), **kwargs):
    """Ours and PyG's, made from the same seed."""
    torch.manual_seed(3)
    ours = nn.GCNConv(*channels, **kwargs)
    torch.manual_seed(3)
    return ours, pyg.GCNConv(*channels, **kwargs)


def compare(ours, theirs, x, edges, weight):
    """Outputs and all gradients."""
    results = []
    for layer, graph in ((ours, edges), (theirs, edges.edge_index if isinstance(edges, Graph) else edges)):
        inputs = [tensor.clone().requires_grad_() for tensor in (x, weight) if tensor is not None]
        out = layer(inputs[0], graph, *inputs[1:])
        out.backward(torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape).cos())
        results.append((out, *(t.grad for t in inputs), *(p.grad for p in layer.parameters())))
        layer.zero_grad()
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["edge_index", "graph"])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"improved": True},
        {"bias": False},
        {"add_self_loops": False},
        {"normalize": False},
        {"flow": "target_to_source"},
        {"aggr": "mean"},
        {"aggr": "max", "improved": True},
        {"cached": True},
    ],
    ids=str,
)
def test_gcn_conv_equals_pyg(kwargs, kind, weighted):
    ours, theirs = both(**kwargs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name]), name
    # Two different weights on one node's self-loops would be ambiguous in PyG too.
    edges = EDGES[:, [0, 1, 2, 3, 5, 6, 7, 8]] if weighted else EDGES
    weight = torch.rand(edges.shape[1]) + 0.5 if weighted else None
    if kwargs.get("improved") and not weighted:  # PyG ignores `improved` there
        edges, weight = EDGES[:, EDGES[0] != EDGES[1]], torch.ones(5)
    compare(ours, theirs, torch.randn(NODES, 5), Graph(edges, NODES) if kind == "graph" else edges, weight)


def test_one_state_dict_serves_both():
    ours, theirs = both()
    torch.nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    compare(ours, theirs, torch.randn(NODES, 5), EDGES, None)


def test_lazy_input_size():
    ours, theirs = both((-1, 4))
    torch.manual_seed(1)
    out = ours(torch.ones(NODES, 7), EDGES)
    torch.manual_seed(1)
    torch.testing.assert_close(out, theirs(torch.ones(NODES, 7), EDGES))


def test_gcn_norm_prepares_a_graph():
    x, graph = torch.randn(NODES, 5), Graph(EDGES, NODES)
    ours, _ = both()
    prepared = nn.GCNConv(5, 4, normalize=False)
    prepared.load_state_dict(ours.state_dict())
    torch.testing.assert_close(prepared(x, nn.gcn_norm(graph)), ours(x, graph))


def test_cached_keeps_the_first_graph_until_reset():
    layer, x = nn.GCNConv(5, 4, cached=True), torch.randn(NODES, 5)
    first = layer(x, EDGES)
    assert torch.equal(layer(x, EDGES[:, :3]), first)
    layer.reset_parameters()
    assert not torch.equal(layer(x, EDGES[:, :3]), first)


@pytest.mark.parametrize("kind", ["edge_index", "graph"])
def test_gcn_conv_compiles_in_one_graph(kind):
    torch._dynamo.reset()
    layer, x = nn.GCNConv(5, 4), torch.randn(NODES, 5, requires_grad=True)
    edges = Graph(EDGES, NODES) if kind == "graph" else EDGES
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, edges), layer(x, edges))
    one, other = (torch.autograd.grad(f(x, edges).cos().sum(), x)[0] for f in (compiled, layer))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", ["edge_index", "graph"])
def test_gcn_conv_exports(kind):
    layer, x = nn.GCNConv(5, 4), torch.randn(NODES, 5)
    edges = Graph(EDGES, NODES) if kind == "graph" else EDGES
    torch.testing.assert_close(torch.export.export(layer, (x, edges)).module()(x, edges), layer(x, edges))


def test_copies_and_pickles():
    layer, x = nn.GCNConv(5, 4), torch.randn(NODES, 5)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x, EDGES), layer(x, EDGES))
    assert repr(layer) == repr(pyg.GCNConv(5, 4)) == "GCNConv(5, 4)"


def test_wrong_calls_of_gcn_conv():
    layer, x = nn.GCNConv(5, 4), torch.randn(NODES, 5)
    with pytest.raises(ValueError, match="add_self_loops"):
        nn.GCNConv(5, 4, add_self_loops=True, normalize=False)
    with pytest.raises(ValueError, match="pair"):
        layer((x, x), EDGES)
    with pytest.raises(IndexError, match="edge_index"):
        layer(x, EDGES + 2)
    with pytest.raises(ValueError, match="two kinds"):
        layer(x, Graph(EDGES, (6, 7)))
    with pytest.raises(RuntimeError, match="edge_weight"):
        layer(x, EDGES, torch.ones(3))


def define(base):
    """A layer that overrides every hook, on our base class or PyG's."""

    class Layer(base):
        def forward(self, x, edge_index, edge_attr, size=None):
            return self.propagate(edge_index, size=size, x=x, edge_attr=edge_attr, scale=2.0)

        def message(self, x_i, x_j, edge_attr, index, size_i):
            return (x_j - x_i) * edge_attr[:, None] + index[:, None] / size_i

        def update(self, inputs, x, scale):
            return inputs * scale + (x[1] if isinstance(x, tuple) else x)

    return Layer


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("aggr", ["sum", "add", "mean", "max", "min", "mul", ["sum", "max"]])
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_message_passing_equals_pyg(aggr, flow, pair):
    layers = [define(base)(aggr, flow=flow) for base in (nn.MessagePassing, pyg.MessagePassing)]
    x = (torch.randn(NODES, 4), torch.randn(NODES, 4)) if pair else torch.randn(NODES, 4)
    attr = torch.rand(EDGES.shape[1])
    if isinstance(aggr, list):
        layers = [define_plain(base)(aggr, flow=flow) for base in (nn.MessagePassing, pyg.MessagePassing)]
    ours, theirs = (layer(x, EDGES, attr) for layer in layers)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(layers[0](x, Graph(EDGES, NODES), attr), theirs)


def define_plain(base):
    """A layer that overrides no hook, which ours fuses."""

    class Plain(base):
        def forward(self, x, edge_index, edge_attr=None, size=None):
            return self.propagate(edge_index, size=size, x=x, edge_attr=edge_attr)

    return Plain


@pytest.mark.parametrize("aggr", ["sum", "mean", "max", "min", ["mean", "min"]])
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("pair", [False, True])
def test_plain_messages_are_fused_and_equal_pyg(aggr, flow, pair):
    ours, theirs = (define_plain(base)(aggr, flow=flow) for base in (nn.MessagePassing, pyg.MessagePassing))
    assert ours.fuse
    receivers = NODES + 2 if flow == "source_to_target" else NODES
    x = (torch.randn(NODES, 4), torch.randn(receivers, 4)) if pair else torch.randn(NODES, 4)
    torch.testing.assert_close(ours(x, EDGES), theirs(x, EDGES))
    assert nnzoo_fast.explain(ours, x, EDGES).operation == "gather_scatter"


def test_a_more_derived_message_is_not_skipped():
    class Doubled(nn.GCNConv):
        def message(self, x_j, edge_weight=None):
            return 2 * super().message(x_j, edge_weight)

    torch.manual_seed(0)
    layer = Doubled(5, 4, bias=False)
    torch.manual_seed(0)
    plain = nn.GCNConv(5, 4, bias=False)
    x = torch.randn(NODES, 5)
    assert plain.fuse and not layer.fuse
    torch.testing.assert_close(layer(x, EDGES), 2 * plain(x, EDGES))


@pytest.mark.parametrize("node_dim, shape", [(-2, (3, NODES, 4)), (0, (NODES, 2, 4)), (1, (2, NODES, 4))])
def test_other_node_dimensions(node_dim, shape):
    ours, theirs = (define_plain(base)("sum", node_dim=node_dim) for base in (nn.MessagePassing, pyg.MessagePassing))
    x = torch.randn(shape)
    torch.testing.assert_close(ours(x, EDGES), theirs(x, EDGES))


def test_wrong_calls_of_message_passing():
    layer, x = define(nn.MessagePassing)(), torch.randn(NODES, 4)
    with pytest.raises(ValueError, match="aggr"):
        nn.MessagePassing("median")
    with pytest.raises(ValueError, match="flow"):
        nn.MessagePassing(flow="up")
    with pytest.raises(ValueError, match="x is"):
        layer(x, EDGES, torch.ones(9), size=(5, 6))
    with pytest.raises(TypeError, match="edge_attr"):
        layer.propagate(EDGES, x=x)
    with pytest.raises(IndexError):
        layer(x[:3], EDGES, torch.ones(9))
    with pytest.raises(IndexError, match=r"x is \[6\], expected nodes in dimension -2"):
        layer(x[:, 0], EDGES, torch.ones(9))
    with pytest.raises(ValueError, match="x has 3 parts"):
        layer((x, x, x), EDGES, torch.ones(9))
    with pytest.raises(RuntimeError, match="index"):
        layer.aggregate(x, EDGES[1], dim_size=NODES)
    with pytest.raises(NotImplementedError, match="aggregate must be overridden"):
        define(nn.MessagePassing)(None)(x, EDGES, torch.ones(9))


@pytest.mark.parametrize("build", [define, define_plain], ids=["hooks", "fused"])
@pytest.mark.parametrize(
    "edges, error",
    [(EDGES.float(), ValueError), (EDGES[0], ValueError), (EDGES.t(), ValueError), (EDGES.tolist(), TypeError)],
    ids=["float", "one row", "nine rows", "list"],
)
def test_edges_that_are_none(build, edges, error):
    with pytest.raises(error, match="edge_index"):
        build(nn.MessagePassing)()(torch.randn(NODES, 4), edges, torch.ones(9))


@pytest.mark.parametrize("build", [define, define_plain], ids=["hooks", "fused"])
@pytest.mark.parametrize("counts", [(NODES, NODES + 2), (NODES + 2, NODES)])
def test_a_pair_of_unequal_parts_has_one_direction(build, counts):
    """PyTorch Geometric reads other rows than it should there, or past their end."""
    pair = tuple(torch.randn(count, 4) for count in counts)
    build(nn.MessagePassing)()(pair, EDGES, torch.ones(9))
    with pytest.raises(ValueError, match=f"{counts[0]} senders and {counts[1]} receivers"):
        build(nn.MessagePassing)(flow="target_to_source")(pair, EDGES, torch.ones(9))


def test_scatter_is_what_aggregates():
    messages, index = torch.randn(9, 3), EDGES[1]
    out = nn.MessagePassing("mean").aggregate(messages, index, dim_size=NODES)
    torch.testing.assert_close(out, ops.scatter(messages, index, 0, NODES, "mean"))


def test_what_a_graph_keeps_of_a_call_serves_the_next():
    """A first call in inference mode or under a mode that fakes tensors spoils none that follow."""
    conv, x = nn.GCNConv(4, 3), torch.randn(5, 4)
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 0, 4]])
    expected = conv(x, Graph(edges, 5))
    for first in (torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True)):
        graph = Graph(edges, 5)
        with first:
            conv(x, graph)
        found = conv(x.clone().requires_grad_(), graph)
        found.sum().backward()
        torch.testing.assert_close(found, expected)
