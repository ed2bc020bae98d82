"""The calls of `gather_scatter` that are checked and timed."""

import functools

import torch

from nnzoo_fast.graph import Graph
from nnzoo_fast.ops.gather_scatter import gather_scatter, peers
from nnzoo_fast.ops.gather_scatter.reference import PLAIN_REDUCES, REDUCES, along_first, reduce_messages
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(x, graph, edge_weight=None, reduce="sum"):
    """`index_select`, a product and `index_add` or `scatter_reduce`, in the caller's order of edges."""
    source, target = graph.edge_index
    weight = graph.edge_weight if edge_weight is None else edge_weight
    messages = x.index_select(0, source)
    if weight is not None:
        weight = weight.expand(1) if weight.dim() == 0 else weight
        messages = messages * along_first(weight, messages)
    names = (reduce,) if isinstance(reduce, str) else reduce
    results = tuple(reduce_messages(messages, target, graph.in_degree, name) for name in names)
    return results[0] if isinstance(reduce, str) else results


def edges(maker, sources: int, targets: int, count: int) -> torch.Tensor:
    return torch.stack([maker.integers(0, max(sources, 1), count), maker.integers(0, max(targets, 1), count)])


def random(sources, targets, count, features=(), weight=None, reduce="sum", grad=True):
    """Random edges; `weight` is the shape of an edge's weights, None for no weights."""

    def make(maker):
        graph = Graph(edges(maker, sources, targets, count), (sources, targets))
        weights = None if weight is None else maker.normal(count, *weight, grad=grad)
        return Call((maker.normal(sources, *features), graph, weights, reduce))

    lead = f"{sources}to{targets}-E{count}-F{'x'.join(map(str, features)) or '1d'}"
    scheme = reduce if isinstance(reduce, str) else "+".join(reduce)
    return Sample(f"{lead}-{scheme}{'' if weight is None else '-W' + 'x'.join(map(str, weight))}", make)


def ties(reduce, weighted=False):
    """Few different values, zeros among them, so that most messages tie."""

    def make(maker):
        graph = Graph(edges(maker, 9, 7, 60), (9, 7))
        x = maker.wrap(maker.integers(-1, 2, 9, 21).cpu().double())
        weight = maker.wrap(maker.integers(-1, 2, 60).cpu().double()) if weighted else None
        return Call((x, graph, weight, reduce))

    return Sample(f"ties-{reduce}{'-weighted' if weighted else ''}", make)


def hub(maker):
    """Nearly all edges meet in one target, and nearly all leave one source."""
    edge_index = edges(maker, 40, 40, 3000)
    edge_index[1, 100:] = 3
    edge_index[0, :1500] = 5
    return Call((maker.normal(40, 67), Graph(edge_index, 40), maker.normal(3000), ["sum", "max"]))


def hubs(maker):
    """Long rows next to each other: they begin and end where a cut of 256 edges falls, and just beside one."""
    targets = torch.arange(6).repeat_interleave(torch.tensor([600, 256, 0, 257, 168, 260]))
    edge_index = torch.stack([maker.integers(0, 9, len(targets)).cpu(), targets])
    edge_index = edge_index[:, torch.randperm(len(targets), generator=maker.generator)].to(maker.device)
    return Call((maker.normal(9, 40), Graph(edge_index, (9, 6)), maker.normal(len(targets)), ["mean", "max"]))


def own_weights(maker):
    graph = Graph(edges(maker, 11, 11, 50), 11, edge_weight=maker.normal(50))
    return Call((maker.normal(11, 19), graph), {"reduce": "mean"})


def strided(maker):
    """Every second row of a wider matrix, weights that are a column."""
    x = maker.normal(26, 40).detach()[::2, 3:36].requires_grad_(maker.grad)
    weight = maker.normal(80, 2).detach()[:, 0].requires_grad_(maker.grad)
    return Call((x, Graph(edges(maker, 13, 10, 80), (13, 10)), weight))


def transposed(maker):
    x = maker.normal(17, 12).detach().t().requires_grad_(maker.grad)
    return Call((x, Graph(edges(maker, 12, 12, 40), 12)))


def huge_and_tiny(maker):
    scales = torch.tensor([1e-18, 1.0, 1e18, 0.0, -1.0], dtype=torch.float64)
    values = torch.randn(10, 33, generator=maker.generator, dtype=torch.float64) * scales.repeat(2)[:, None]
    return Call((maker.wrap(values), Graph(edges(maker, 10, 8, 30), (10, 8)), None, ["sum", "mean", "max", "min"]))


def infinite(maker):
    """Infinities, and a target with nothing but minus infinity."""
    values = torch.randn(6, 18, generator=maker.generator, dtype=torch.float64)
    values[0], values[1, :9], values[2, 3] = -torch.inf, torch.inf, torch.nan
    edge_index = torch.tensor([[0, 0, 1, 3, 2, 4, 5], [0, 0, 1, 1, 2, 2, 4]])
    return Call((maker.wrap(values, grad=False), Graph(edge_index.to(maker.device), 6), None, ["max", "min"]))


def one_weight(maker):
    return Call((maker.normal(8, 5), Graph(edges(maker, 8, 8, 20), 8), maker.normal(1, 5), "max"))


def skewed(maker, nodes: int, count: int) -> torch.Tensor:
    """Edges that mostly meet in few nodes: of N, the r-th most popular end has about r^(-2/3) as many as the first."""
    rank = (torch.rand(2, count, generator=maker.generator) ** 3 * nodes).long().clamp(max=nodes - 1)
    return torch.randperm(nodes, generator=maker.generator)[rank].to(maker.device)


def bench(name, nodes, count, features, reduce="sum", weighted=False, quick=False):
    def make(maker):
        edge_index = skewed(maker, nodes, count) if name == "skewed" else edges(maker, nodes, nodes, count)
        graph = Graph(edge_index, nodes)
        return Call((maker.normal(nodes, features), graph, maker.normal(count) if weighted else None, reduce))

    flops = count * features * (2 if weighted else 1)
    values = 2 * nodes * features + nodes + count * (3 if weighted else 1)
    label = f"{name}-N{nodes}-E{count}-F{features}-{reduce}{'-W' if weighted else ''}"
    return BenchCase(label, make, flops, 4 * values, quick)


def longest_sum(call: Call) -> int:
    x, graph = call.args[:2]
    degrees = torch.cat([graph.in_degree, graph.out_degree, torch.ones(1, dtype=torch.int64, device=graph.device)])
    return max(int(degrees.max()), x[0].numel() if len(x) else 1)


def call(*args, **kwargs):
    return lambda maker: Call(tuple(arg(maker) if callable(arg) else arg for arg in args), kwargs)


def graph(sources=4, targets=4, count=6):
    return lambda maker: Graph(edges(maker, sources, targets, count), (sources, targets))


def normal(*shape):
    return lambda maker: maker.normal(*shape)


SPEC = OpSpec(
    name="gather_scatter",
    function=gather_scatter,
    stock=stock,
    samples=[
        *(random(7, 5, 23, (3,), reduce=reduce) for reduce in REDUCES),
        *(random(5, 6, 17, (4,), (), reduce) for reduce in PLAIN_REDUCES),
        random(4, 5, 12, (2, 3), (2,), ["mean", "max"]),
        random(1, 1, 1, (1,)),
        random(13, 11, 60),
        random(13, 11, 60, (), (), "max"),
        random(29, 31, 200, (97,), (), "mean"),
        random(29, 31, 200, (16,)),
        random(29, 31, 200, (32,), None, "min"),
        random(29, 31, 200, (64,), (), "max"),
        random(29, 31, 200, (173,), None, ["sum", "mean", "max", "min"]),
        random(29, 31, 200, (173,), (), ["min", "max", "mean", "sum"]),
        random(19, 23, 90, (3, 35), (3,)),
        random(19, 23, 90, (3, 35), (3,), "max"),
        random(19, 23, 90, (3, 7), (3, 7), "mean"),
        random(19, 23, 90, (41,), (41,), "min"),
        random(19, 23, 90, (2, 3, 5), (2, 1, 1)),
        random(6, 200, 40, (24,), None, "max"),
        random(200, 6, 400, (24,), (), ["sum", "sum"]),
        *(random(29, 31, 200, (37,), weight, ["mul", "var", "std", "softmax"]) for weight in (None, (), (37,))),
        random(19, 23, 90, (3, 35), (3,), ["var", "softmax"]),
        random(5, 4, 0, (3,), (), ["mean", "mul"]),
        random(5, 0, 0, (3,)),
        random(0, 4, 0, (3,), None, "max"),
        random(5, 4, 9, (0,), ()),
        *(ties(reduce, weighted) for reduce in ("max", "min", "mul", "std") for weighted in (False, True)),
        Sample("hub", hub, long=True),
        Sample("own-weights", own_weights),
        Sample("strided", strided),
        Sample("transposed", transposed),
        Sample("huge-and-tiny", huge_and_tiny),
        Sample("infinite", infinite),
        Sample("one-weight-for-all", one_weight),
    ],
    errors=[
        ErrorSample("graph-type", call(normal(4, 3), torch.zeros(2, 5, dtype=torch.int64)), TypeError, "graph"),
        ErrorSample("x-list", call([1.0, 2.0, 3.0, 4.0], graph()), TypeError, "x is a list"),
        ErrorSample("x-few-rows", call(normal(3, 5), graph()), RuntimeError, "x is"),
        ErrorSample("x-many-rows", call(normal(5, 5), graph()), RuntimeError, "x is"),
        ErrorSample("x-0d", call(normal(), graph()), RuntimeError, "x is"),
        ErrorSample("x-integers", call(torch.ones(4, 3, dtype=torch.int64), graph()), RuntimeError, "x is"),
        ErrorSample("weight-length", call(normal(4, 3), graph(), normal(5)), RuntimeError, "edge_weight"),
        ErrorSample("weight-features", call(normal(4, 3), graph(), normal(6, 2)), RuntimeError, "edge_weight"),
        ErrorSample("weight-dimensions", call(normal(4, 3), graph(), normal(6, 3, 1)), RuntimeError, "edge_weight"),
        ErrorSample("reduce-unknown", call(normal(4, 3), graph(), None, "median"), ValueError, "reduce"),
        ErrorSample("reduce-in-list", call(normal(4, 3), graph(), None, ["sum", "median"]), ValueError, "reduce"),
        ErrorSample("reduce-empty", call(normal(4, 3), graph(), None, []), ValueError, "reduce"),
    ],
    counted=[random(200, 200, 2000, (64,), reduce=reduce) for reduce in ("sum", "max")],
    bench=[
        bench("random", 100_000, 1_000_000, 64, quick=True),
        bench("random", 20_000, 1_000_000, 64, quick=True),
        bench("random", 50_000, 1_000_000, 64),
        bench("random", 100_000, 1_000_000, 64, "mean"),
        bench("random", 100_000, 1_000_000, 64, "mean", weighted=True),
        bench("random", 100_000, 1_000_000, 64, "max", quick=True),
        bench("random", 100_000, 1_000_000, 64, "min"),
        bench("random", 100_000, 1_000_000, 64, "var"),
        bench("random", 100_000, 1_000_000, 64, "softmax"),
        bench("skewed", 200_000, 2_000_000, 32),
        bench("skewed", 200_000, 2_000_000, 256),
        bench("random", 100_000, 1_000_000, 16),
        bench("random", 20_000, 200_000, 256),
        bench("cora", 2708, 10_556, 16, quick=True),
        bench("cora", 2708, 10_556, 1433),
    ],
    length=longest_sum,
    variants={
        "edge loop (push)": functools.partial(gather_scatter, backend="cpu_push"),
        "row loop (pull)": functools.partial(gather_scatter, backend="cpu_pull"),
        "register tiles": functools.partial(gather_scatter, backend="cpu_registers"),
        "register tiles, prefetched": functools.partial(gather_scatter, backend="cpu"),
    },
    peers={
        "torch_geometric": peers.torch_geometric,
        "indexing": peers.indexing,
        "sparse matmul": peers.sparse_product,
    },
)
