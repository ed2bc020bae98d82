"""The calls of `edge_softmax` that are checked and timed."""

import torch

from nnzoo_fast.graph import Graph
from nnzoo_fast.ops.edge_softmax import edge_softmax
from nnzoo_fast.ops.gather_scatter.reference import along_first
from nnzoo_fast.ops.gather_scatter.spec import edges
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(scores, graph):
    """As PyTorch Geometric writes it."""
    target = graph.edge_index[1]
    index = along_first(target, scores).expand(scores.shape)
    top = scores.new_zeros((graph.num_targets, *scores.shape[1:]))
    top = top.scatter_reduce(0, index, scores.detach(), "amax", include_self=False)
    shares = (scores - top[target]).exp()
    total = torch.zeros_like(top).index_add(0, target, shares) + 1e-16
    return shares / total[target]


def random(nodes, count, *heads, scale=1.0):
    def make(maker):
        return Call((maker.normal(count, *heads, scale=scale), Graph(edges(maker, nodes, nodes, count), nodes)))

    return Sample(f"N{nodes}-E{count}-H{'x'.join(map(str, heads)) or '1d'}-scale{scale:g}", make)


def strided(maker):
    scores = maker.normal(40, 6).detach()[:, ::2].requires_grad_(maker.grad)
    return Call((scores, Graph(edges(maker, 9, 9, 40), 9)))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"scores": maker.normal(9, 2), "graph": Graph(edges(maker, 6, 6, 9), 6)}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(nodes, count, heads, quick=False):
    sample = random(nodes, count, heads)
    return BenchCase(sample.id, sample.make, 8 * count * heads, 4 * (2 * count * heads + count + nodes), quick)


SPEC = OpSpec(
    name="edge_softmax",
    function=edge_softmax,
    stock=stock,
    samples=[
        random(5, 12, 2),
        random(6, 20),
        random(7, 60, 2, 3),
        random(7, 60, 37),
        random(3, 500, 8, scale=30.0),
        random(5, 0, 2),
        random(5, 8, 0),
        Sample("strided", strided),
    ],
    errors=[
        wrong("graph-type", TypeError, "graph", graph=torch.zeros(2, 9, dtype=torch.int64)),
        wrong("scores-list", TypeError, "scores is a list", scores=[1.0]),
        wrong("scores-rows", RuntimeError, "scores is", scores=torch.zeros(8, 2)),
        wrong("scores-0d", RuntimeError, "scores is", scores=torch.zeros(())),
        wrong("scores-integers", RuntimeError, "scores is", scores=torch.zeros(9, 2, dtype=torch.int64)),
    ],
    bench=[bench(100_000, 1_000_000, 8, quick=True), bench(100_000, 1_000_000, 1)],
    length=lambda call: max(call.args[1].num_edges, 1) if call.args else 1,
)
