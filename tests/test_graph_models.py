"""The graph family: equal to PyTorch Geometric's, on static and dynamic graphs, and what each formula means."""

import copy
import inspect
import pickle

import pytest
import torch
from test_models import deviations, normal
from zoo import lively, without_dropout

from nnzoo_fast import Graph, models, nn
from nnzoo_fast.models.link_prediction import ranking
from nnzoo_fast.models.registry import PUBLISHED
from nnzoo_fast.spec import outputs_of

pyg = pytest.importorskip("torch_geometric.nn")
from nnzoo_fast.models.peers import graphs as peers  # noqa: E402

SIZES = (9, 1, 12, 8)  # nodes of each graph of the batch; the second's is isolated, as are some of the others
BATCH = torch.repeat_interleave(torch.arange(4), torch.tensor(SIZES))
STARTS = (0, 9, 10, 22)
_drawn = torch.Generator().manual_seed(0)
EDGES = torch.cat(
    [torch.randint(0, max(n - 2, 1), (2, 3 * n), generator=_drawn) + s for n, s in zip(SIZES, STARTS, strict=True)], 1
)
EDGES = EDGES[:, EDGES[0] != EDGES[1]]
NODES, COUNT = sum(SIZES), EDGES.shape[1]
X, ATTR, WHOLE, OUTSIDE = normal(NODES, 6), normal(COUNT, 3, seed=2), normal(4, 2, seed=3), normal(NODES, 2, seed=4)

IN = (6, 3, 2, 5, 4, (8, 7), (9,))
MODELS = {
    "MessagePassingNetwork": (
        lambda: models.MessagePassingNetwork((6, 9, 4), 3),
        lambda: peers.MessagePassingNetwork((6, 9, 4), 3),
        (X, EDGES, ATTR),
    ),
    "MessagePassingNetwork-max": (
        lambda: models.MessagePassingNetwork((6, 9, 4), 3, "max"),
        lambda: peers.MessagePassingNetwork((6, 9, 4), 3, "max"),
        (X, EDGES, ATTR),
    ),
    **{
        f"MessagePassingNetwork-{aggr}-no edges": (
            lambda aggr=aggr: models.MessagePassingNetwork((6, 9, 4), 0, aggr),
            lambda aggr=aggr: peers.MessagePassingNetwork((6, 9, 4), 0, aggr),
            (X, EDGES),
        )
        for aggr in ("sum", "mean", "max")
    },
    "InteractionNetwork": (
        lambda: models.InteractionNetwork(*IN),
        lambda: peers.interaction_network(*IN),
        (X, EDGES, ATTR, OUTSIDE),
    ),
    "GraphNetwork": (
        lambda: models.GraphNetwork((6, 3, 2), (4, 2, 3), 8, steps=3),
        lambda: peers.GraphNetwork((6, 3, 2), (4, 2, 3), 8, steps=3),
        (X, EDGES, ATTR, WHOLE, BATCH),
    ),
    "MPNN": (
        lambda: models.MPNN(6, 3, 2, 8, 10, 3, 2),
        lambda: peers.MPNN(6, 3, 2, 8, 10, 3, 2),
        (X, EDGES, ATTR, BATCH, 4),
    ),
    "MPNN-add": (
        lambda: models.MPNN(6, 3, 2, 8, 10, 2, 3, "add"),
        lambda: peers.MPNN(6, 3, 2, 8, 10, 2, 3, "add"),
        (X, EDGES, ATTR, BATCH, 4),
    ),
    "GATv2": (
        lambda: models.GATv2(6, 8, 2, 4, heads=2, edge_dim=3),
        lambda: pyg.models.GAT(6, 8, 2, 4, heads=2, edge_dim=3, v2=True),
        (X, EDGES, None, ATTR),
    ),
    **{
        f"GraphClassifier-{name}": (
            lambda name=name: models.GraphClassifier(6, 3, 8, 2, name, 0.6),
            lambda name=name: peers.GraphClassifier(6, 3, 8, 2, name, 0.6),
            (X, EDGES, BATCH, 4),
        )
        for name in ("topk", "sag", "global")
    },
    "DGCNN": (
        lambda: models.DGCNN(5, 3, 4, (6, 7), 8),
        lambda: peers.DGCNN(5, (6, 7), 8, 4),
        (normal(30, 3), torch.arange(30) // 10, 3),
    ),
    "GAE": (
        lambda: models.GAE(models.GCN(6, 8, 2, 4)),
        lambda: pyg.GAE(pyg.models.GCN(6, 8, 2, 4)),
        (X, EDGES),
    ),
    "VGAE": (
        lambda: models.VGAE(models.VariationalGCN(6, 8, 4)),
        lambda: pyg.VGAE(peers.VariationalGCN(6, 8, 4)),
        (X, EDGES),
    ),
}
EACH = pytest.mark.parametrize("make, peer, inputs", MODELS.values(), ids=MODELS)
WITH_EDGES = {name: entry for name, entry in MODELS.items() if entry[2][1] is EDGES}
EACH_WITH_EDGES = pytest.mark.parametrize("make, peer, inputs", WITH_EDGES.values(), ids=WITH_EDGES)


def twins(make, peer):
    torch.manual_seed(0)
    theirs, ours = lively(peer()), make()
    state = theirs.state_dict()
    assert {key: value.shape for key, value in ours.state_dict().items()} == {k: v.shape for k, v in state.items()}
    ours.load_state_dict(state)
    return without_dropout(ours), without_dropout(theirs)


def call(model, inputs):
    """PyTorch Geometric's GAT wants what it takes third by name."""
    if len(inputs) == 4 and inputs[2] is None:
        return outputs_of(model(*inputs[:2], edge_attr=inputs[3]))
    return outputs_of(model(*inputs))


def results(model, inputs):
    """Outputs, and gradients by all parameters and all features."""
    inputs = [
        x.clone().requires_grad_() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in inputs
    ]
    leaves = [x for x in inputs if isinstance(x, torch.Tensor) and x.requires_grad] + list(model.parameters())
    outputs = call(model, inputs)
    cotangents = [normal(*output.shape, seed=5).bfloat16().to(output) for output in outputs]
    return [*outputs, *torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True, materialize_grads=True)]


def with_graph(inputs):
    return [Graph(x, NODES) if x is EDGES else x for x in inputs]


def lower(inputs):
    return [x.float() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in inputs]


@EACH
def test_equals_pyg(make, peer, inputs):
    ours, theirs = twins(make, peer)
    ours, theirs = ours.eval(), theirs.eval()
    stock = results(theirs, lower(inputs))
    found = results(ours, lower(inputs)), results(ours, lower(with_graph(inputs)))
    truth = results(theirs.double(), inputs)
    for each in found:
        assert not deviations(each, stock, truth, torch.float32)
    assert deviations([1.01 * value for value in found[0]], stock, truth, torch.float32)
    for value, expected in zip(results(ours.double(), inputs), truth, strict=True):
        assert (value - expected).norm() <= 1e-11 * expected.norm() + 1e-12


def test_norms_and_noise_in_training_are_pygs():
    ours, theirs = twins(*MODELS["DGCNN"][:2])
    inputs = MODELS["DGCNN"][2]
    for value, expected in zip(results(ours.double(), inputs), results(theirs.double(), inputs), strict=True):
        assert (value - expected).norm() <= 1e-10 * expected.norm() + 1e-12
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    drawn = []
    for model in twins(*MODELS["VGAE"][:2]):
        torch.manual_seed(7)
        drawn.append((model.double().encode(X, EDGES), model.kl_loss()))
    torch.testing.assert_close(*drawn)
    assert not torch.allclose(model.encode(X, EDGES), drawn[0][0])


PARAMETERS = {name: entry for name, entry in PUBLISHED.items() if entry.family == "graph"}


@pytest.mark.parametrize("pooling", ["topk", "sag", "global"])
def test_one_graph_without_nodes_is_one_graph(pooling):
    model = models.GraphClassifier(4, pooling=pooling).eval()
    nothing = torch.zeros(0, 4), torch.zeros(2, 0, dtype=torch.int64)
    assert torch.equal(model(*nothing), model(*nothing, torch.zeros(0, dtype=torch.int64), 1))


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_docstring_knows_the_published_size(name):
    with torch.device("meta"):
        model = models.create(name)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert f"{count:,} parameters" in " ".join(inspect.getdoc(type(model)).split())


@EACH
def test_a_batch_is_its_graphs_one_by_one(make, peer, inputs):
    torch.manual_seed(0)
    model = without_dropout(make()).double().eval()
    if inputs[1] is not EDGES:
        x, batch, size = inputs
        parts = [model(x[batch == g]) for g in range(size)]
        return torch.testing.assert_close(model(*inputs), torch.cat(parts))
    whole, found = call(model, inputs), []
    for graph in range(4):
        nodes, edges = BATCH == graph, BATCH[EDGES[0]] == graph
        part = [EDGES[:, edges] - STARTS[graph] if x is EDGES else x for x in inputs]
        part = [x[nodes] if isinstance(x, torch.Tensor) and len(x) == NODES else x for x in part]
        part = [x[edges] if x is ATTR else x[graph : graph + 1] if x is WHOLE else x for x in part]
        part = [torch.zeros_like(x) if isinstance(x, torch.Tensor) and x.dim() == 1 else x for x in part]
        found.append(call(model, [1 if isinstance(x, int) else x for x in part]))
    for value, parts in zip(whole, zip(*found, strict=True), strict=True):
        torch.testing.assert_close(value, torch.cat(parts))


@EACH
def test_graphs_without_edges_and_without_nodes(make, peer, inputs):
    torch.manual_seed(0)
    model = without_dropout(make()).eval()
    bare = [x[:, :0] if x is EDGES else x[:0] if x is ATTR else x for x in lower(inputs)]
    bare = [x[:0] if isinstance(x, torch.Tensor) and x.is_floating_point() and len(x) == COUNT else x for x in bare]
    for output in call(model, bare):
        assert output.isfinite().all()
    none = [x[:0] if isinstance(x, torch.Tensor) and len(x) == len(inputs[0]) else x for x in bare]
    for output, filled in zip(call(model, none), call(model, bare), strict=True):
        assert output.shape[1:] == filled.shape[1:] and output.isfinite().all()


@EACH_WITH_EDGES
def test_edges_that_come_and_go(make, peer, inputs):
    """A graph edited between steps answers as one built anew."""
    torch.manual_seed(0)
    model = without_dropout(make()).double().eval()
    graph, kept = Graph(EDGES[:, :40], NODES), list(range(40))
    call(model, [graph if x is EDGES else x[:40] if x is ATTR else x for x in inputs])
    for step in range(3):
        gone = torch.arange(graph.num_edges) % 3 == step
        graph, kept = graph.remove_edges(gone), [edge for edge, leaves in zip(kept, gone, strict=True) if not leaves]
        fresh = list(range(40 + 10 * step, 50 + 10 * step))
        graph, kept = graph.add_edges(EDGES[:, fresh]), kept + fresh
        edited = call(model, [graph if x is EDGES else x[kept] if x is ATTR else x for x in inputs])
        anew = call(model, [EDGES[:, kept] if x is EDGES else x[kept] if x is ATTR else x for x in inputs])
        for one, other in zip(edited, anew, strict=True):
            torch.testing.assert_close(one, other)
    assert not torch.allclose(call(model, inputs)[0], anew[0])


SPECIAL = {
    "GINConv": (lambda f: (lambda u, v, e: v, lambda h, m: f(h + m), "sum"), 6),
    "SAGEConv": (lambda f: (lambda u, v, e: v, lambda h, m: f.lin_l(m) + f.lin_r(h), "mean"), 6),
    "EdgeConv": (lambda f: (lambda u, v, e: f(torch.cat([u, v - u], 1)), lambda h, m: m, "max"), 12),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_other_layers_are_cases_of_the_general_one(name):
    build, inputs = SPECIAL[name]
    network = torch.nn.Linear(inputs, 5).double()
    layer = nn.SAGEConv(6, 5).double() if name == "SAGEConv" else getattr(nn, name)(network)
    psi, phi, aggr = build(layer if name == "SAGEConv" else network)
    general = models.MessagePassingNetwork((6, 5), aggr=aggr, psi=[psi], phi=[phi])
    torch.testing.assert_close(general(X, EDGES), layer(X, EDGES))
    assert not torch.allclose(general(X, EDGES.flip(0)), layer(X, EDGES))


def test_several_reductions_side_by_side():
    phi = [nn.Joint(torch.nn.Linear(6 + 12, 4))]
    model = models.MessagePassingNetwork((6, 4), 0, ["sum", "max"], [lambda u, v, e: v], phi).double()
    one, other = (nn.reduce_edges(X[EDGES[0]], Graph(EDGES, NODES), reduce) for reduce in ("sum", "max"))
    torch.testing.assert_close(model(X, EDGES), phi[0](X, one, other))


def test_a_reconstruction_costs_what_pyg_says():
    ours, theirs = (model.double() for model in twins(*MODELS["GAE"][:2]))
    missing = models.negative_edges(EDGES, NODES)
    found = []
    for model in (ours, theirs):
        z = model.encode(X, EDGES)
        loss = model.recon_loss(z, EDGES, missing)
        grads = torch.autograd.grad(loss, list(model.parameters()))
        found.append((loss, *grads, model.decode(z, EDGES), model.decoder.forward_all(z)))
    torch.testing.assert_close(*found)
    torch.testing.assert_close(ours.recon_loss(ours(X, EDGES), Graph(EDGES, NODES), Graph(missing, NODES)), found[1][0])
    products = (found[0][-1].logit()[edges[0], edges[1]].detach() for edges in (EDGES, missing))
    assert ours.test(ours(X, EDGES), EDGES, missing) == pytest.approx(ranking(*products))
    ours.recon_loss(ours(X, EDGES), EDGES).backward()
    assert all(parameter.grad.isfinite().all() for parameter in ours.parameters())


def test_links_that_pyg_takes_for_certain_still_have_a_gradient():
    z, wrong = torch.full((2, 1), 10.0, requires_grad=True), torch.tensor([[0], [1]])
    grads = []
    for model in (models.GAE(nn.Identity()), pyg.GAE(nn.Identity())):
        loss = model.recon_loss(z, wrong, wrong)
        grads.append((loss.item(), torch.autograd.grad(loss, z)[0].abs().sum().item()))
    assert grads[0] == pytest.approx((100, 20)) and grads[1][1] == 0


def test_links_are_ranked_as_defined():
    """The area is the chance that an edge scores above a pair without one; precision is taken where recall rises."""
    positive, negative = torch.randint(0, 12, (2, 50), generator=_drawn).float()[:, :40]
    pairs = positive[:, None] - negative
    area = ((pairs > 0) + (pairs == 0) / 2).double().mean().item()
    precision = 0.0
    for score in positive.unique():
        found, wrong = ((side >= score).sum() for side in (positive, negative))
        precision += ((positive == score).sum() / 40 * found / (found + wrong)).item()
    assert ranking(positive, negative) == pytest.approx((area, precision), rel=1e-6)
    assert ranking(torch.ones(3), torch.zeros(2)) == (1, 1) and ranking(torch.zeros(3), torch.ones(3))[0] == 0
    with pytest.raises(ValueError, match="0 positive"):
        ranking(positive[:0], negative)


def test_negative_edges():
    taken = set(map(tuple, EDGES.t().tolist()))
    for count in (None, 7, 10_000):
        drawn = models.negative_edges(EDGES, NODES, count, torch.Generator().manual_seed(1))
        pairs = list(map(tuple, drawn.t().tolist()))
        free = NODES * (NODES - 1) - len(taken)
        assert len(pairs) == len(set(pairs)) == min(COUNT if count is None else count, free)
        assert not taken & set(pairs) and all(a != b and 0 <= min(a, b) <= max(a, b) < NODES for a, b in pairs)
    full = torch.combinations(torch.arange(4)).t()
    full = torch.cat([full, full.flip(0), torch.arange(4).expand(2, -1)], 1)
    assert models.negative_edges(full, 4).shape == (2, 0)
    assert models.negative_edges(full[:, 1:], 4).tolist() == full[:, :1].tolist()
    with pytest.raises(IndexError, match="negative_edges: .* out of range, expected 0 <= i < 3"):
        models.negative_edges(full, 3)
    found = torch.cat([models.negative_edges(full[:, 3:], 4, 1) for _ in range(300)], 1)
    assert torch.unique(found, dim=1, return_counts=True)[1].min() > 60, "all free pairs are equally likely"


def test_copies_keep_no_draw():
    model = models.VGAE(models.VariationalGCN(6, 8, 4)).double().eval()
    z = model.encode(X, EDGES)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin.encode(X, EDGES), z) and model.mu is not None
        torch.testing.assert_close(twin.kl_loss(), model.kl_loss(model.mu, model.logstd))
    assert models.VGAE().kl_loss.__func__ is models.VGAE.kl_loss
    with pytest.raises(RuntimeError, match="nothing was encoded"):
        copy.deepcopy(model).kl_loss()


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: models.MessagePassingNetwork((3,)), "sizes must name"),
        (lambda: models.MessagePassingNetwork((3, 4), psi=[]), "psi is for 0 layers, expected 1"),
        (lambda: models.GraphNetwork(steps=0), "steps is 0"),
        (lambda: models.GraphClassifier(pooling="best"), "pooling is 'best', expected topk"),
        (lambda: models.GraphClassifier(num_layers=0), "num_layers"),
        (lambda: models.GATv2(3, 5, 2, 2, heads=2), "no multiple of heads"),
    ],
    ids=["sizes", "psi", "steps", "pooling", "layers", "heads"],
)
def test_wrong_sizes_raise(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
