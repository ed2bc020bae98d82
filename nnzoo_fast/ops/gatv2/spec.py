"""The calls of `gatv2` that are checked and timed."""

import torch
from torch.nn.functional import leaky_relu

from nnzoo_fast.graph import Graph
from nnzoo_fast.ops.gat.spec import stock_attention
from nnzoo_fast.ops.gather_scatter.spec import edges
from nnzoo_fast.ops.gatv2 import gatv2
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(x, target, att, graph, edge=None, negative_slope=0.2):
    inside = x[graph.edge_index[0]] + target[graph.edge_index[1]]
    if edge is not None:
        inside = inside + edge
    return stock_attention(x, (leaky_relu(inside, negative_slope) * att).sum(-1), graph)


def random(sources, targets, count, heads, channels, edge=False, slope=0.2, scale=1.0):
    def make(maker):
        graph = Graph(edges(maker, sources, targets, count), (sources, targets))
        rows = maker.normal(sources, heads, channels), maker.normal(targets, heads, channels)
        edge_rows = maker.normal(count, heads, channels) if edge else None
        return Call((*rows, maker.normal(heads, channels, scale=scale), graph, edge_rows, slope))

    lead = f"{sources}to{targets}-E{count}-H{heads}-C{channels}{'-edge' if edge else ''}"
    return Sample(f"{lead}-slope{slope:g}{f'-scale{scale:g}' if scale != 1 else ''}", make)


def hub(maker):
    """A target and a source with many more edges than are scored together."""
    edge_index = edges(maker, 30, 30, 900)
    edge_index[1, 50:] = 3
    edge_index[0, :400] = 5
    return Call((maker.normal(30, 3, 5), maker.normal(30, 3, 5), maker.normal(3, 5), Graph(edge_index, 30)))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = dict(x=maker.normal(6, 2, 3), target=maker.normal(4, 2, 3), att=maker.normal(2, 3))
        call.update(graph=Graph(edges(maker, 6, 4, 9), (6, 4)), edge=maker.normal(9, 2, 3))
        return Call((), {**call, **{name: value(maker) for name, value in changes.items()}})

    return ErrorSample(id, make, exception, message)


def bench(nodes, count, heads, channels, quick=False):
    def make(maker):
        graph = Graph(edges(maker, nodes, nodes, count), nodes)
        rows = (maker.normal(nodes, heads, channels) for _ in range(2))
        return Call((*rows, maker.normal(heads, channels), graph))

    values = 3 * nodes * heads * channels + nodes + 2 * count
    return BenchCase(
        f"random-N{nodes}-E{count}-H{heads}-C{channels}", make, count * heads * (7 * channels + 6), 4 * values, quick
    )


def every_edge(call: Call) -> int:
    """The gradient of att sums over all of them what the gradients of scores sum over channels."""
    return max(call.args[3].num_edges * call.args[0].shape[-1], 1) if call.args else 1


SPEC = OpSpec(
    name="gatv2",
    function=gatv2,
    stock=stock,
    samples=[
        random(5, 4, 12, 2, 3, edge=True),
        random(1, 1, 1, 1, 1),
        random(7, 6, 25, 1, 5),
        random(13, 11, 80, 8, 8),
        random(13, 11, 80, 3, 35, edge=True, slope=0.0, scale=0.3),
        random(13, 11, 80, 17, 2, edge=True, slope=0.5),
        random(5, 4, 0, 2, 3, edge=True),
        random(5, 0, 0, 2, 3),
        random(5, 4, 9, 2, 0),
        Sample("hub", hub, long=True),
    ],
    errors=[
        wrong("graph-type", TypeError, "graph", graph=lambda maker: torch.zeros(2, 9, dtype=torch.int64)),
        wrong("att-missing", TypeError, "att is a NoneType", att=lambda maker: None),
        wrong("x-rows", RuntimeError, "x is", x=lambda maker: maker.normal(5, 2, 3)),
        wrong("target-heads", RuntimeError, "target is", target=lambda maker: maker.normal(4, 3, 3)),
        wrong("att-channels", RuntimeError, "att is", att=lambda maker: maker.normal(2, 4)),
        wrong("edge-channels", RuntimeError, "edge is", edge=lambda maker: maker.normal(9, 2)),
        wrong("dropout", ValueError, "dropout is -1", dropout=lambda maker: -1.0),
    ],
    bench=[bench(100_000, 1_000_000, 8, 8, quick=True), bench(2708, 13_264, 8, 8, quick=True)],
    length=every_edge,
)
