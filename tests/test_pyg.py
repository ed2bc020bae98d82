"""PyTorch Geometric's own layers on our kernels: equal, reversible, and the same objects."""

import copy
import pickle

import peers
import pytest
import torch
from test_models import deviations, integers, normal

from nnzoo_fast import pyg
from nnzoo_fast.explain import recording

MODELS = {
    "GCN": (lambda g: g.models.GCN(12, 8, 3, 4), "gather_scatter"),
    "GraphSAGE": (lambda g: g.models.GraphSAGE(12, 8, 2, 4, project=True), "gather_scatter"),
    "GraphSAGE-max": (lambda g: g.models.GraphSAGE(12, 8, 2, 4, aggr="max"), "gather_scatter"),
    "GraphSAGE-several": (lambda g: g.SAGEConv(12, 4, aggr=["mean", "max"], normalize=True), "gather_scatter"),
    "GraphConv": (lambda g: g.GraphConv(12, 4, aggr="mean"), "gather_scatter"),
    "GIN": (lambda g: g.models.GIN(12, 8, 2, 4, train_eps=True), "gather_scatter"),
    "GAT": (lambda g: g.models.GAT(12, 8, 2, 4, heads=2), "gat"),
    "GAT-residual": (lambda g: g.GATConv(12, 4, heads=3, concat=False, residual=True, bias=False), "gat"),
    "GATv2": (lambda g: g.models.GAT(12, 8, 2, 4, v2=True, heads=2), "gatv2"),
    "other flow": (lambda g: g.GCNConv(12, 4, flow="target_to_source", cached=True), "gather_scatter"),
    "GraphSAGE, other flow": (lambda g: g.SAGEConv(12, 4, flow="target_to_source"), "gather_scatter"),
}
EACH = pytest.mark.parametrize("make, operation", MODELS.values(), ids=MODELS)


def build(make):
    peers.torch_geometric()
    import torch_geometric.nn

    torch.manual_seed(0)
    return make(torch_geometric.nn)


def inputs():
    return normal(40, 12), integers(40, 2, 160)


def results(model, dtype):
    x, edges = inputs()
    model, x = copy.deepcopy(model).to(dtype), x.to(dtype).requires_grad_()
    output = model(x, edges)
    grads = torch.autograd.grad(output, [x, *model.parameters()], normal(*output.shape, seed=2).to(dtype))
    return [output, *grads]


@EACH
def test_a_layer_equals_itself(make, operation):
    stock = build(make)
    ours, seen = pyg.accelerate(copy.deepcopy(stock)), []
    with recording(lambda found, values, way: seen.append(found.name)):
        found = results(ours, torch.float32)
    assert operation in seen and "linear" in seen
    truth, usual = results(stock, torch.float64), results(stock, torch.float32)
    assert not deviations(found, usual, truth, torch.float32)
    assert deviations([1.01 * value for value in found], usual, truth, torch.float32)


@EACH
def test_objects_stay_and_come_back(make, operation):
    model, (x, edges) = build(make), inputs()
    expected = model(x.float(), edges)  # `cached` layers keep a graph from here on
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    kinds, parameters = [type(module) for module in model.modules()], list(model.parameters())
    assert pyg.accelerate(model) is model and any(isinstance(module, pyg.Adopted) for module in model.modules())
    pyg.accelerate(model)
    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
    pickle.loads(pickle.dumps(model))
    pyg.restore(model)
    assert [type(module) for module in model.modules()] == kinds
    for name, module in model.named_modules():
        assert vars(module).keys() == before[name].keys()
        assert all(vars(module)[key] is value for key, value in before[name].items())
    assert torch.equal(model(x.float(), edges), expected)


def test_what_ours_does_not_know_stays():
    for make in (
        lambda g: g.GCNConv(12, 4, improved=True),
        lambda g: g.SAGEConv(12, 4, aggr=g.aggr.SoftmaxAggregation()),
        lambda g: g.SAGEConv(12, 4, aggr="median"),
        lambda g: g.SAGEConv(-1, 4),
        lambda g: g.GATConv(12, 4, aggr="max"),
        lambda g: g.GATv2Conv(12, 4, aggr="mean"),
        lambda g: g.SAGEConv(12, 4, decomposed_layers=2),
        lambda g: type("Mine", (g.GCNConv,), {})(12, 4),
    ):
        layer = pyg.accelerate(build(make))
        assert not isinstance(layer, pyg.Adopted) and type(layer).__module__ != "nnzoo_fast.pyg"
    hooked = build(lambda g: g.GCNConv(12, 4))
    hooked.register_message_forward_hook(lambda module, inputs, output: None)
    assert not isinstance(pyg.accelerate(hooked), pyg.Adopted)
    with pytest.raises(AttributeError, match="has no attribute 'ChebConv'"):
        _ = pyg.ChebConv


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
@pytest.mark.parametrize("options", [{}, {"add_self_loops": False}, {"fill_value": 0.5, "residual": True}], ids=str)
def test_attention_reads_the_features_of_edges(name, options):
    layer = build(lambda g: getattr(g, name)(12, 4, heads=2, edge_dim=3, **options))
    x, edges = inputs()
    call = (x.float(), edges, normal(160, 3, seed=3).float())
    expected = layer(*call)
    assert not torch.allclose(layer(*call[:2]), expected)
    pyg.accelerate(layer)
    assert isinstance(layer, pyg.Adopted)
    torch.testing.assert_close(layer(*call), expected)
    layer(*call).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


@pytest.mark.parametrize("name", ["GCNConv", "SAGEConv", "EdgeConv", "Sequential"])
@pytest.mark.filterwarnings("ignore:`torch.jit.script")
def test_torchscript_takes_the_stock_layers(name):
    def make(g):
        if name == "EdgeConv":
            return g.EdgeConv(torch.nn.Sequential(torch.nn.Linear(24, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8)))
        if name != "Sequential":
            return getattr(g, name)(12, 8)
        return torch.nn.Sequential(torch.nn.Linear(12, 12), torch.nn.ReLU(), g.Linear(12, 8))

    layer = pyg.accelerate(build(make))
    kind, (x, edges) = type(layer), inputs()
    call = (x.float(),) if name == "Sequential" else (x.float(), edges)
    expected = layer(*call)
    torch.testing.assert_close(torch.jit.script(layer)(*call), expected)
    assert type(layer) is kind, "the layer itself stays ours"
    torch.testing.assert_close(pyg.accelerate(layer)(*call), expected)


@pytest.mark.parametrize("name", ["EdgeConv", "TransformerConv", "PNAConv", "Mine"])
def test_what_keeps_its_code_runs_its_linear_layers_on_ours(name):
    def make(g):
        if name == "EdgeConv":
            return g.EdgeConv(torch.nn.Sequential(torch.nn.Linear(24, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8)))
        if name == "PNAConv":
            return g.PNAConv(12, 8, ["mean", "max", "std"], ["identity"], torch.tensor([0, 3, 5, 9]))

        class Mine(g.MessagePassing):
            def __init__(self):
                super().__init__(aggr="add")
                self.lin = torch.nn.Linear(12, 8)

            def forward(self, x, edge_index):
                return self.propagate(edge_index, x=self.lin(x))

            def message(self, x_j):
                return x_j.relu()

        return Mine() if name == "Mine" else g.TransformerConv(12, 8, 2)

    stock = build(make)
    ours, seen = pyg.accelerate(copy.deepcopy(stock)), []
    with recording(lambda found, values, way: seen.append(found.name)):
        found = results(ours, torch.float32)
    assert "linear" in seen
    assert not deviations(found, results(stock, torch.float32), results(stock, torch.float64), torch.float32)
