"""What formulas mean where textbooks differ: each layer against its dense form, and beside it those that it is not."""

import pytest
import torch
from test_properties import ATTR, EDGES, NODES, X, close

from nnzoo_fast import nn


def adjacency(loops=False):
    dense = torch.zeros(NODES, NODES, dtype=torch.float64).index_put((EDGES[1], EDGES[0]), X.new_ones(()), True)
    return dense + torch.eye(NODES, dtype=torch.float64) * loops


def lively(layer):
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer.double()


def test_gcn_adds_self_loops_and_divides_by_both_degrees():
    """Beside it stand formulas of textbooks that it is not."""
    layer = lively(nn.GCNConv(6, 4))
    found, rows = layer(X, EDGES), X @ layer.lin.weight.t()
    degree = adjacency(True).sum(1)
    assert close(found, adjacency(True) / (degree[:, None] * degree).sqrt() @ rows + layer.bias)
    assert not close(found, adjacency(True) / degree[:, None] @ rows + layer.bias), "no mean: D^-1 (A + I)"
    alone = adjacency() / (adjacency().sum(1)[:, None] * adjacency().sum(1)).sqrt()
    assert not close(found, alone.nan_to_num() @ rows + layer.bias), "not without self-loops"
    inside = adjacency(True) / (degree[:, None] * degree).sqrt() @ (rows + layer.bias)
    assert not close(found, inside), "the bias is outside the sum"
    assert close(found[-1], rows[-1] + layer.bias), "an isolated node sees itself"


def test_sage_takes_the_mean_of_neighbours_and_weighs_the_node_apart():
    layer = lively(nn.SAGEConv(6, 4))
    mean = adjacency() / adjacency().sum(1, keepdim=True).clamp(min=1) @ X
    found = layer(X, EDGES)
    assert close(found, layer.lin_l(mean) + layer.lin_r(X)) and layer.lin_r.bias is None
    among = adjacency(True) / adjacency(True).sum(1, keepdim=True) @ X
    assert not close(found, layer.lin_l(among)), "the node is not one of those of the mean"
    assert close(found[-1], layer.lin_l.bias + layer.lin_r(X[-1])), "no neighbours, and still the bias"


def test_gin_sums_neighbours_and_has_its_biases_outside():
    network = lively(torch.nn.Linear(6, 4))
    layer = nn.GINConv(network, eps=0.5)
    network = lively(network)
    found = layer.double()(X, EDGES)
    assert close(found, network(1.5 * X + adjacency() @ X))
    assert not close(found, network(1.5 * X) + adjacency() @ network(X)), "a bias for every neighbour"


@pytest.mark.parametrize("kind", [nn.GATConv, nn.GATv2Conv])
def test_attention_on_graphs_includes_the_node_itself(kind):
    layer = lively(kind(6, 4))
    without = kind(6, 4, add_self_loops=False).double()
    without.load_state_dict(layer.state_dict())
    source = (layer.lin if kind is nn.GATConv else layer.lin_l)(X)
    assert close(layer(X, EDGES)[-1], source[-1] + layer.bias) and close(without(X, EDGES)[-1], layer.bias)
    loops = torch.arange(NODES).expand(2, -1)
    assert close(without(X, torch.cat([EDGES, loops], 1)), layer(X, EDGES)) and not close(
        without(X, EDGES), layer(X, EDGES)
    )


def test_only_gatv2_ranks_neighbours_differently_for_each_node():
    everyone = torch.cartesian_prod(torch.arange(NODES), torch.arange(NODES)).t()
    ranks = []
    for kind in (nn.GATConv, nn.GATv2Conv):
        torch.manual_seed(1)
        layer = lively(kind(6, 4, add_self_loops=False))
        _, (edges, weights) = layer(X, everyone, return_attention_weights=True)
        assert torch.equal(edges, everyone)
        ranks.append(weights[:, 0].view(NODES, NODES).argsort(0))  # of the senders, for each receiver
    assert torch.equal(ranks[0], ranks[0][:, :1].expand(-1, NODES))
    assert not torch.equal(ranks[1], ranks[1][:, :1].expand(-1, NODES))


def test_nnconv_weighs_the_node_apart_from_its_edges():
    torch.manual_seed(0)
    layer = lively(nn.NNConv(6, 4, torch.nn.Linear(3, 24), aggr="mean"))
    messages = torch.einsum("ei,eio->eo", X[EDGES[0]], layer.nn(ATTR).view(-1, 6, 4))
    total = torch.zeros(NODES, 4, dtype=torch.float64).index_add(0, EDGES[1], messages)
    expected = total / adjacency().sum(1, keepdim=True).clamp(min=1) + layer.lin(X) + layer.bias
    assert close(layer(X, EDGES, ATTR), expected) and not close(
        layer(X, EDGES, ATTR), total + layer.lin(X) + layer.bias
    )
