"""The calls of `sddmm` that are checked and timed."""

import torch

from nnzoo_fast.graph import Graph
from nnzoo_fast.ops.gather_scatter.spec import edges
from nnzoo_fast.ops.sddmm import sddmm
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(x, y, graph):
    source, target = graph.edge_index
    return (x[source] * y[target]).sum(-1)


def random(sources, targets, count, *features):
    def make(maker):
        graph = Graph(edges(maker, sources, targets, count), (sources, targets))
        return Call((maker.normal(sources, *features), maker.normal(targets, *features), graph))

    return Sample(f"{sources}to{targets}-E{count}-{'x'.join(map(str, features))}", make)


def strided(maker):
    x = maker.normal(9, 12).detach()[:, ::2].requires_grad_(maker.grad)
    return Call((x, maker.normal(6, 9).detach().t().requires_grad_(maker.grad), Graph(edges(maker, 9, 9, 30), 9)))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"x": maker.normal(6, 2), "y": maker.normal(4, 2), "graph": Graph(edges(maker, 6, 4, 9), (6, 4))}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(nodes, count, *features, quick=False):
    sample = random(nodes, nodes, count, *features)
    width = features[0] * (features[1] if len(features) > 1 else 1)
    return BenchCase(sample.id, sample.make, 2 * count * width, 4 * (2 * nodes * width + 3 * count), quick)


SPEC = OpSpec(
    name="sddmm",
    function=sddmm,
    stock=stock,
    samples=[
        random(5, 4, 12, 3),
        random(6, 5, 20, 2, 4),
        random(7, 9, 60, 2, 3, 5),
        random(7, 9, 60, 3, 35),
        random(7, 9, 60, 128),
        random(5, 4, 0, 2),
        random(5, 4, 8, 0),
        random(5, 4, 8, 0, 3),
        Sample("strided", strided),
    ],
    errors=[
        wrong("graph-type", TypeError, "graph", graph=torch.zeros(2, 9, dtype=torch.int64)),
        wrong("x-list", TypeError, "x is a list", x=[1.0]),
        wrong("x-rows", RuntimeError, "x is", x=torch.zeros(5, 2)),
        wrong("x-1d", RuntimeError, "x is", x=torch.zeros(6)),
        wrong("y-features", RuntimeError, "y is", y=torch.zeros(4, 3)),
        wrong("y-dtype", RuntimeError, "one floating-point dtype", y=torch.zeros(4, 2).double()),
    ],
    bench=[bench(100_000, 1_000_000, 64, quick=True), bench(100_000, 1_000_000, 8, 8)],
    length=lambda call: max(call.args[2].num_edges, call.args[0].shape[-1], 1) if call.args else 1,
)
