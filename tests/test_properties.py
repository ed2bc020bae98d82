"""What must hold whatever the weights: equivariance, invariance, and what networks can't see."""

import pytest
import torch
from test_models import integers, normal

from nnzoo_fast import Graph, models, nn

NODES = 11
EDGES = integers(NODES - 1, 2, 40)  # the last node is isolated
EDGES = EDGES[:, EDGES[0] != EDGES[1]]
X, ATTR = normal(NODES, 6), normal(EDGES.shape[1], 3, seed=2)
WHOLE = normal(1, 2, seed=3)


def seeded(make):
    torch.manual_seed(0)
    return make().double().eval()


def random_order(count, seed=4):
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def renumbered(edges, order):
    """Edges whose nodes stand in another order: `order` names the old number of each."""
    return order.argsort()[edges]


def close(one, other):
    return torch.allclose(one, other, rtol=1e-9, atol=1e-11)


OF_NODES = {
    "GCN": (lambda: models.GCN(6, 8, 2, 4), False),
    "GraphSAGE": (lambda: models.GraphSAGE(6, 8, 2, 4), False),
    "GraphSAGE-max": (lambda: models.GraphSAGE(6, 8, 2, 4, aggr="max", project=True), False),
    "GAT": (lambda: models.GAT(6, 8, 2, 4, heads=2, edge_dim=3), True),
    "GATv2": (lambda: models.GATv2(6, 8, 2, 4, heads=2, edge_dim=3), True),
    "GIN": (lambda: models.GIN(6, 8, 2, 4), False),
    "MessagePassingNetwork": (lambda: models.MessagePassingNetwork((6, 8, 4), 3), True),
    "InteractionNetwork": (lambda: models.InteractionNetwork(6, 3), True),
    "GAE": (lambda: models.GAE(models.GCN(6, 8, 2, 4)), False),
}


@pytest.mark.parametrize("make, reads_edges", OF_NODES.values(), ids=OF_NODES)
def test_other_numbers_of_nodes_and_edges_give_the_same_answers(make, reads_edges):
    model, nodes, edges = seeded(make), random_order(NODES), random_order(EDGES.shape[1])
    expected = model(X, EDGES, *[ATTR] * reads_edges)[nodes]
    attr = [ATTR[edges]] * reads_edges
    found = renumbered(EDGES, nodes)[:, edges]
    assert close(model(X[nodes], found, *attr), expected)
    assert close(model(X[nodes], Graph(found, NODES), *attr), expected)
    assert not close(model(X[nodes], EDGES[:, edges], *attr), expected)


def test_a_graph_network_moves_nodes_and_edges_and_keeps_the_whole():
    model = seeded(lambda: models.GraphNetwork((6, 3, 2), (4, 2, 3), 8, steps=2))
    nodes, edges = random_order(NODES), random_order(EDGES.shape[1])
    expected = model(X, EDGES, ATTR, WHOLE)
    found = model(X[nodes], renumbered(EDGES, nodes)[:, edges], ATTR[edges], WHOLE)
    assert close(found[0], expected[0][nodes]) and close(found[1], expected[1][edges]) and close(found[2], expected[2])
    assert not close(found[0], expected[0]) and not close(found[1], expected[1])


OF_GRAPHS = {
    "MPNN": (lambda: models.MPNN(6, 3, 2, 8, 10), True),
    "GraphClassifier-topk": (lambda: models.GraphClassifier(6, 3, 8, 2, "topk", 0.6), False),
    "GraphClassifier-sag": (lambda: models.GraphClassifier(6, 3, 8, 2, "sag", 0.6), False),
    "GraphClassifier-global": (lambda: models.GraphClassifier(6, 3, 8, 2, "global"), False),
}


@pytest.mark.parametrize("make, reads_edges", OF_GRAPHS.values(), ids=OF_GRAPHS)
def test_a_readout_does_not_depend_on_the_order_of_nodes(make, reads_edges):
    model, nodes, edges = seeded(make), random_order(NODES), random_order(EDGES.shape[1])
    expected = model(X, EDGES, *[ATTR] * reads_edges)
    found = renumbered(EDGES, nodes)[:, edges]
    assert close(model(X[nodes], found, *[ATTR[edges]] * reads_edges), expected)
    assert not close(model(X[nodes], EDGES[:, edges], *[ATTR[edges]] * reads_edges), expected)


@pytest.mark.parametrize("name", ["global_add_pool", "global_mean_pool", "global_max_pool", "Set2Set"])
def test_pools_do_not_depend_on_the_order_of_nodes(name):
    torch.manual_seed(0)
    pool = nn.Set2Set(6, 3).double() if name == "Set2Set" else getattr(nn, name)
    batch, order = torch.arange(NODES) % 3, random_order(NODES)
    assert close(pool(X[order], batch[order]), pool(X, batch)) and not close(pool(X[order], batch), pool(X, batch))


def test_a_point_cloud_has_no_order():
    model, points = seeded(lambda: models.DGCNN(5, 3, 4, (6, 7), 8)), normal(20, 3)
    assert close(model(points[random_order(20)]), model(points)) and not close(model(1.1 * points), model(points))


def ring(*nodes):
    edges = torch.tensor([nodes, nodes[1:] + nodes[:1]])
    return torch.cat([edges, edges.flip(0)], 1)


def both_ways(*pairs):
    edges = torch.tensor(pairs).t()
    return torch.cat([edges, edges.flip(0)], 1)


SIX = ring(0, 1, 2, 3, 4, 5)
TRIANGLES = torch.cat([ring(0, 1, 2), ring(3, 4, 5)], 1)
DECALIN = torch.cat([ring(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), both_ways((0, 5))], 1)
BICYCLOPENTYL = torch.cat([ring(0, 1, 2, 3, 4), ring(5, 6, 7, 8, 9), both_ways((0, 5))], 1)
STAR = both_ways((0, 1), (0, 2), (0, 3), (0, 4), (0, 5))
SEEING = {
    "GCN": lambda: models.GCN(2, 8, 3, 4),
    "GraphSAGE": lambda: models.GraphSAGE(2, 8, 3, 4),
    "GAT": lambda: models.GAT(2, 8, 3, 4, heads=2),
    "GATv2": lambda: models.GATv2(2, 8, 3, 4, heads=2),
    "GIN": lambda: models.GIN(2, 8, 3, 4),
    "MessagePassingNetwork": lambda: models.MessagePassingNetwork((2, 8, 8, 4)),
    "InteractionNetwork": lambda: models.InteractionNetwork(2, 0, 0, 8, 4, (9,), (9,)),
    "GraphClassifier": lambda: models.GraphClassifier(2, 4, 8, 3, "global"),
}


@pytest.mark.parametrize("name", SEEING)
def test_what_the_weisfeiler_leman_test_can_not_tell_apart_is_embedded_alike(name):
    """Six atoms in a ring or in two triangles; ten in two rings that share a bond or that a bond joins."""
    model = seeded(SEEING[name])

    def embedded(edges, x):
        out = model(x, edges)
        return out if name == "GraphClassifier" else nn.global_add_pool(out, None)

    alike = torch.ones(6, 2, dtype=torch.float64) * normal(2)
    assert close(embedded(SIX, alike), embedded(TRIANGLES, alike))
    atoms = normal(2, 2)[(torch.arange(10) % 5 == 0).long()]  # the two atoms with three bonds are of another kind
    assert close(embedded(DECALIN, atoms), embedded(BICYCLOPENTYL, atoms))
    # Of equal features, a mean makes equal ones: it takes different ones to tell a star from a ring.
    different = torch.cat([alike[:1], -alike[:1], alike[2:]])
    assert not close(embedded(SIX, different), embedded(STAR, different))


def test_sums_count_neighbours_and_means_do_not():
    """Xu et al., figure 3: a node between two and a node between three equal ones."""
    two, three, x = both_ways((0, 1), (0, 2)), both_ways((0, 1), (0, 2), (0, 3)), torch.ones(4, 6, dtype=torch.float64)
    for make, tells in (
        (lambda: models.GIN(6, 8, 1, 4), True),
        (lambda: models.GraphSAGE(6, 8, 1, 4), False),
        (lambda: models.GraphSAGE(6, 8, 1, 4, aggr="max"), False),
        (lambda: models.GAT(6, 8, 1, 4), False),
    ):
        model = seeded(make)
        assert close(model(x, two)[0], model(x, three)[0]) is not tells


def test_attention_knows_no_order():
    torch.manual_seed(0)
    x, order = normal(2, 7, 8), random_order(7)
    layer = nn.MultiheadAttention(8, 2, batch_first=True).double()
    encoder = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True).double()
    for each in (lambda x: layer(x, x, x)[0], encoder):
        assert close(each(x[:, order]), each(x)[:, order]) and not close(each(x[:, order]), each(x))
    tokens, gpt = integers(23, 2, 7), seeded(lambda: models.GPT(23, 16, 24, 2, 3))
    assert not close(gpt(tokens[:, order]), gpt(tokens)[:, order]), "positions are learnt there"


PADDED = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])


def test_what_is_masked_changes_nothing():
    torch.manual_seed(0)
    tokens, mask = 3 + integers(20, 2, 7), (~PADDED).long()
    sizes = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
    bert = seeded(lambda: models.BERTForTokenClassification(5, vocab_size=23, **sizes))
    other = torch.where(PADDED, tokens.flip(1), tokens)
    assert close(bert(other, mask)[~PADDED], bert(tokens, mask)[~PADDED])
    assert close(bert(tokens[1:, :4], mask[1:, :4]), bert(tokens, mask)[1:, :4]), "as if it were not there"
    assert not close(bert(other)[~PADDED], bert(tokens)[~PADDED])
    x = normal(2, 7, 8)
    noisy = torch.where(PADDED[..., None], 100.0, x)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True).double()
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    kept = [encoder(each, src_key_padding_mask=PADDED)[~PADDED] for each in (x, noisy)]
    assert close(*kept) and not close(encoder(noisy)[~PADDED], encoder(x)[~PADDED])
    gpt = seeded(lambda: models.GPT(23, 16, 24, 2, 3))
    assert close(gpt(other)[1, :4], gpt(tokens)[1, :4]), "what follows is masked for those before it"


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_move_with_what_they_see(dims):
    torch.manual_seed(0)
    sizes, kind = (11, 9, 8)[:dims], getattr(nn, f"Conv{dims}d")
    x, axes, shift = normal(2, 3, *sizes), tuple(range(2, 2 + dims)), (3, 2, 1)[:dims]

    def moved(y):
        return y.roll(shift, axes)

    around = kind(3, 4, 3, padding=1, padding_mode="circular", dilation=1).double()
    assert close(around(moved(x)), moved(around(x)))
    zeros, inside = kind(3, 4, 3, padding=1).double(), (..., *[slice(4, -4 if dims == 1 else -3)] * dims)
    assert close(zeros(moved(x))[inside], moved(zeros(x))[inside]) and zeros(x)[inside].numel()
    assert not close(zeros(moved(x)), moved(zeros(x))), "at the border, padding shows"
    every_other = kind(3, 4, 3, padding=1, stride=2).double()
    assert not close(every_other(moved(x)), every_other(x).roll(1, axes[0])), "a stride sees shifts of its multiples"
