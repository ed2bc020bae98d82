"""Times graph layers, and the building of a graph, against PyTorch Geometric and what one writes in stock torch."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from nnzoo_fast import nn as ours
from nnzoo_fast.benchmark.layers import check, runner
from nnzoo_fast.benchmark.ops import AUTOMATIC, EAGER, FORWARD, HOT, TRAINING, Row, Settings, peaks
from nnzoo_fast.benchmark.timing import interleave
from nnzoo_fast.graph import Graph
from nnzoo_fast.machine import Roof
from nnzoo_fast.ops.gather_scatter import gather_scatter, peers
from nnzoo_fast.ops.gather_scatter.spec import edges, skewed
from nnzoo_fast.spec import Maker

PYG = "torch_geometric"


class OnGraph(nn.Module):
    """A graph layer with its edges, as a module of the nodes alone."""

    def __init__(self, layer: nn.Module, edges: torch.Tensor | Graph):
        super().__init__()
        self.layer, self.edges = layer, edges

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, self.edges)


@dataclass(frozen=True)
class Case:
    """`make(nodes, count)` returns candidates, ours first, which take x [nodes, 64]; `values` is what each must move.

    These are modules, or with `trains` False functions.
    """

    id: str
    make: Callable[[int, int], dict[str, Callable]]
    nodes: int
    count: int
    values: int
    trains: bool = True


def layer(name: str, *sizes: int) -> Callable[[int, int], dict[str, Callable]]:
    """The layer `name` of PyTorch Geometric, given edges, and ours with the same weights, given a Graph made before."""

    def make(nodes: int, count: int) -> dict[str, Callable]:
        from torch_geometric import nn as pyg

        edge_index = skewed(Maker(), nodes, count)
        theirs, mine = getattr(pyg, name)(*sizes), getattr(ours, name)(*sizes)
        mine.load_state_dict(theirs.state_dict())
        return {AUTOMATIC: OnGraph(mine, Graph(edge_index, nodes)), PYG: OnGraph(theirs, edge_index)}

    return make


def edge_conv(nodes: int, count: int) -> dict[str, Callable]:
    """`EdgeConv` with two layers on every edge, each node having as many random neighbours."""
    from torch_geometric import nn as pyg

    target = torch.arange(nodes).repeat_interleave(count // nodes)
    edge_index = torch.stack([Maker().integers(0, nodes, len(target)), target])
    network = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 64))
    mine, theirs = ours.EdgeConv(network), pyg.EdgeConv(copy.deepcopy(network))
    mine.load_state_dict(theirs.state_dict())
    return {AUTOMATIC: OnGraph(mine, Graph(edge_index, nodes)), PYG: OnGraph(theirs, edge_index)}


def built_in_the_call(nodes: int, count: int) -> dict[str, Callable]:
    """Sums of neighbours, of edges that come with the call."""
    edge_index = edges(Maker(), nodes, nodes, count)
    given = Graph(edge_index, nodes)
    return {
        AUTOMATIC: lambda x: gather_scatter(x, Graph(edge_index, nodes)),
        "indexing": lambda x: peers.indexing(x, given),
        PYG: lambda x: peers.torch_geometric(x, given),
    }


def build(nodes: int, count: int) -> dict[str, Callable]:
    """A Graph, sorted by both ends, against a sort of the targets alone."""
    edge_index = edges(Maker(), nodes, nodes, count)
    return {AUTOMATIC: lambda x: Graph(edge_index, nodes), "torch.sort": lambda x: edge_index[1].sort()}


MANY = {"nodes": 200_000, "count": 2_000_000}
CASES = [
    Case("GCNConv 64-64 skewed", layer("GCNConv", 64, 64), **MANY, values=2 * 200_000 * 64 + 2 * 2_000_000),
    Case("SAGEConv 64-64 skewed", layer("SAGEConv", 64, 64), **MANY, values=2 * 200_000 * 64 + 2_000_000),
    Case("GATConv 64-8x8 skewed", layer("GATConv", 64, 8, 8), **MANY, values=2 * 200_000 * 72 + 2_000_000),
    Case("EdgeConv 64-64-64, 20 neighbours", edge_conv, 10_000, 200_000, 2 * 10_000 * 64 + 2 * 200_000),
    Case("sum, Graph built in the call", built_in_the_call, 100_000, 1_000_000, 2 * 100_000 * 64 + 4_000_000, False),
    Case("Graph build", build, 100_000, 1_000_000, 8_000_000, False),
]


def run(case: Case, work: str, settings: Settings, roof: Roof) -> Iterator[Row]:
    torch.manual_seed(0)
    candidates = case.make(case.nodes, case.count)
    x = torch.randn(case.nodes, 64)
    if case.trains:
        calls = {name: runner(module, x, work) for name, module in candidates.items()}
    else:
        calls = {name: functools.partial(lambda function, number: function(x), f) for name, f in candidates.items()}
    timings, failures = interleave(calls, settings.seconds)
    moved = 4.0 * case.values * (3 if work == TRAINING else 1)
    label = f"N{case.nodes}-E{case.count}"
    checks = problems(case, work)
    row = Row(case.id, label, "float32", work, HOT, AUTOMATIC, "cpu", 0.0, moved, True, checks, timings, failures)
    others = [name for name in candidates if name != AUTOMATIC]
    row.compare((EAGER, *others))
    row.memory = peaks({name: calls[name] for name in (AUTOMATIC, others[-1]) if name in timings}, settings.device)
    if row.ours and not checks:
        row.roof_part = roof.floor(0.0, moved) / row.ours.median
    yield row


def problems(case: Case, work: str) -> list[str]:
    """What P2 has against a small call's results, stock torch's error being that of the last peer."""
    if case.make is build:
        return []
    torch.manual_seed(0)
    mine, *_, theirs = case.make(300, 3000).values()
    x = torch.randn(300, 64)
    if case.trains:
        return check(*(runner(module, x, work) for module in (mine, theirs)), exact(theirs, x, work))
    return check(lambda number: mine(x), lambda number: theirs(x), lambda number: theirs(x.double()))


def exact(module: nn.Module, x: torch.Tensor, work: str) -> Callable[[int], object]:
    return runner(copy.deepcopy(module).double(), x.double(), work)


def all_rows(settings: Settings, roof: Roof, progress, kept) -> list[Row]:
    """The rows of every case; `progress` and `kept` as for operations."""
    planned = [(case, work) for case in CASES for work in ((FORWARD, TRAINING) if case.trains else (FORWARD,))]
    rows = []
    for number, (case, work) in enumerate(planned):
        name = f"{case.id}, {work}"
        progress(number, len(planned), name)
        rows += kept(name, functools.partial(lambda *job: list(run(*job)), case, work, settings, roof))
    return rows
