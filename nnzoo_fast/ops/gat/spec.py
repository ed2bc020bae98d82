"""The calls of `gat` that are checked and timed."""

import torch
from torch.nn.functional import leaky_relu

from nnzoo_fast.graph import Graph
from nnzoo_fast.ops.gat import gat
from nnzoo_fast.ops.gather_scatter.spec import edges, longest_sum
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock_attention(x, scores, graph):
    """In the caller's order of edges, with the softmax as PyTorch Geometric writes it."""
    source, target = graph.edge_index
    index = target[:, None].expand(scores.shape)
    top = scores.detach().new_zeros(graph.num_targets, scores.shape[1])
    top = top.scatter_reduce(0, index, scores.detach(), "amax", include_self=False)
    shares = (scores - top[target]).exp()
    total = torch.zeros_like(top).index_add(0, target, shares)
    messages = (shares / (total[target] + 1e-16)).unsqueeze(-1) * x[source]
    return x.new_zeros((graph.num_targets, *x.shape[1:])).index_add(0, target, messages)


def stock(x, source, target, graph, edge=None, negative_slope=0.2):
    inside = source[graph.edge_index[0]]
    if target is not None:
        inside = inside + target[graph.edge_index[1]]
    if edge is not None:
        inside = inside + edge
    return stock_attention(x, leaky_relu(inside, negative_slope), graph)


def random(sources, targets, count, heads, channels, edge=False, slope=0.2, scale=1.0):
    """With large scores the softmax is all but one-hot, and a target's gradient, a sum of gradients of scores that
    cancel, is little but rounding: stock torch's error is 3e-4 in float32, and in float64 ours is 8e-13 from it."""

    def make(maker):
        graph = Graph(edges(maker, sources, targets, count), (sources, targets))
        scores = maker.normal(sources, heads, scale=scale), maker.normal(targets, heads, scale=scale)
        edge_scores = maker.normal(count, heads) if edge else None
        return Call((maker.normal(sources, heads, channels), *scores, graph, edge_scores, slope))

    lead = f"{sources}to{targets}-E{count}-H{heads}-C{channels}{'-edge' if edge else ''}"
    name = f"{lead}-slope{slope:g}{f'-scale{scale:g}' if scale != 1 else ''}"
    return Sample(name, make, ill_conditioned=scale > 10)


def hub(maker):
    """A target and a source with many more edges than are scored together."""
    edge_index = edges(maker, 30, 30, 900)
    edge_index[1, 50:] = 3
    edge_index[0, :400] = 5
    scores = maker.normal(30, 3, scale=3.0), maker.normal(30, 3, scale=3.0)
    return Call((maker.normal(30, 3, 5), *scores, Graph(edge_index, 30)))


def no_target(maker):
    graph = Graph(edges(maker, 9, 7, 30), (9, 7))
    return Call((maker.normal(9, 2, 3), maker.normal(9, 2), None, graph))


def strided(maker):
    graph = Graph(edges(maker, 9, 9, 40), 9)
    x = maker.normal(9, 6, 4).detach().transpose(1, 2).requires_grad_(maker.grad)
    return Call((x, *(maker.normal(9, 8).detach()[:, ::2].requires_grad_(maker.grad) for _ in range(2)), graph))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = dict(x=maker.normal(6, 2, 3), source=maker.normal(6, 2), target=maker.normal(4, 2))
        call.update(graph=Graph(edges(maker, 6, 4, 9), (6, 4)), edge=maker.normal(9, 2))
        return Call((), {**call, **{name: value(maker) for name, value in changes.items()}})

    return ErrorSample(id, make, exception, message)


def bench(nodes, count, heads, channels, quick=False):
    def make(maker):
        graph = Graph(edges(maker, nodes, nodes, count), nodes)
        return Call(
            (maker.normal(nodes, heads, channels), maker.normal(nodes, heads), maker.normal(nodes, heads), graph)
        )

    values = 2 * nodes * heads * (channels + 1) + nodes + 2 * count
    return BenchCase(
        f"random-N{nodes}-E{count}-H{heads}-C{channels}", make, count * heads * (2 * channels + 8), 4 * values, quick
    )


SPEC = OpSpec(
    name="gat",
    function=gat,
    stock=stock,
    samples=[
        random(5, 4, 12, 2, 3, edge=True),
        random(1, 1, 1, 1, 1),
        random(7, 6, 25, 1, 5),
        random(13, 11, 80, 8, 8),
        random(13, 11, 80, 3, 35, edge=True, slope=0.0),
        random(13, 11, 80, 17, 2, edge=True, slope=0.5),
        random(9, 7, 50, 2, 64, scale=20.0),
        random(3, 60, 20, 2, 4),
        random(5, 4, 0, 2, 3, edge=True),
        random(0, 4, 0, 2, 3),
        random(5, 0, 0, 2, 3),
        random(5, 4, 9, 2, 0),
        Sample("hub", hub, long=True),
        Sample("no-target", no_target),
        Sample("strided", strided),
    ],
    errors=[
        wrong("graph-type", TypeError, "graph", graph=lambda maker: torch.zeros(2, 9, dtype=torch.int64)),
        wrong("x-list", TypeError, "x is a list", x=lambda maker: [1.0]),
        wrong("x-rows", RuntimeError, "x is", x=lambda maker: maker.normal(5, 2, 3)),
        wrong("x-dimensions", RuntimeError, "x is", x=lambda maker: maker.normal(6, 6)),
        wrong("x-integers", RuntimeError, "x is", x=lambda maker: torch.ones(6, 2, 3, dtype=torch.int64)),
        wrong("source-heads", RuntimeError, "source is", source=lambda maker: maker.normal(6, 3)),
        wrong("target-rows", RuntimeError, "target is", target=lambda maker: maker.normal(6, 2)),
        wrong("target-dtype", RuntimeError, "target is", target=lambda maker: maker.normal(4, 2).double()),
        wrong("edge-rows", RuntimeError, "edge is", edge=lambda maker: maker.normal(8, 2)),
        wrong("dropout", ValueError, "dropout is 1.5", dropout=lambda maker: 1.5),
    ],
    bench=[
        bench(100_000, 1_000_000, 8, 8, quick=True),
        bench(20_000, 200_000, 1, 64),
        bench(2708, 13_264, 8, 8, quick=True),
    ],
    length=lambda call: longest_sum(Call((call.args[0], call.args[3]))) if len(call.args) > 3 else 1,
)
