"""The calls of `edge_mlp` that are checked and timed."""

import torch
import torch.nn.functional as F

from nnzoo_fast.activations import ACTIVATIONS
from nnzoo_fast.graph import Graph
from nnzoo_fast.ops.edge_mlp import edge_mlp, peers
from nnzoo_fast.ops.gather_scatter.reference import reduce_messages
from nnzoo_fast.ops.gather_scatter.spec import edges, longest_sum
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(p, q, graph, weight=None, bias=None, activation="relu", reduce="max"):
    source, target = graph.edge_index
    messages = ACTIVATIONS[activation](p[target] + q[source])
    if weight is not None:
        messages = F.linear(messages, weight, bias)
    return reduce_messages(messages, target, graph.in_degree, reduce)


def random(sources, targets, count, hidden, outputs=None, activation="relu", reduce="max", bias=True):
    """`outputs` None: no weight."""

    def make(maker):
        graph = Graph(edges(maker, sources, targets, count), (sources, targets))
        weight = None if outputs is None else maker.normal(outputs, hidden)
        offset = maker.normal(outputs) if bias and outputs is not None else None
        p, q = maker.normal(targets, hidden), maker.normal(sources, hidden)
        return Call((p, q, graph, weight, offset, activation, reduce))

    to = "" if outputs is None else f"-O{outputs}{'' if bias else '-nobias'}"
    return Sample(f"{sources}to{targets}-E{count}-H{hidden}{to}-{activation}-{reduce}", make)


def hub(reduce):
    """Nearly all edges meet in one target, and nearly all leave one source."""

    def make(maker):
        edge_index = edges(maker, 20, 20, 1500)
        edge_index[1, 60:] = 3
        edge_index[0, :700] = 5
        p, q = maker.normal(20, 19), maker.normal(20, 19)
        return Call((p, q, Graph(edge_index, 20), maker.normal(35, 19), maker.normal(35), "relu", reduce))

    return Sample(f"hub-{reduce}", make, long=True)


def twins(maker):
    """Every edge twice, so that all maxima are attained twice."""
    edge_index = edges(maker, 8, 6, 20)
    graph = Graph(torch.cat([edge_index, edge_index], dim=1), (8, 6))
    return Call((maker.normal(6, 5), maker.normal(8, 5), graph, maker.normal(9, 5), maker.normal(9)))


def dead(maker):
    """Hidden values that are all cut off: every message is the bias."""
    p = maker.normal(6, 5, shift=-50.0)
    graph = Graph(edges(maker, 8, 6, 20), (8, 6))
    return Call((p, maker.normal(8, 5), graph, maker.normal(9, 5), maker.normal(9)))


def strided(maker):
    p, q = maker.normal(9, 12).detach()[:, ::2], maker.normal(6, 9).detach().t()
    weight = maker.normal(6, 4).detach().t()
    parts = [tensor.requires_grad_(maker.grad) for tensor in (p, q, weight)]
    return Call((*parts[:2], Graph(edges(maker, 9, 9, 30), 9), parts[2]))


def wrong(id, exception, message, **changes):
    def make(maker):
        graph = Graph(edges(maker, 6, 4, 9), (6, 4))
        call = {"p": maker.normal(4, 3), "q": maker.normal(6, 3), "graph": graph, "weight": maker.normal(2, 3)}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(nodes, k, hidden, outputs, reduce, quick=False):
    """Each node has k random neighbours."""

    def make(maker):
        target = torch.arange(nodes).repeat_interleave(k)
        graph = Graph(torch.stack([maker.integers(0, nodes, nodes * k).cpu(), target]).to(maker.device), nodes)
        p, q = maker.normal(nodes, hidden), maker.normal(nodes, hidden)
        return Call(
            (p, q, graph, maker.normal(outputs, hidden, scale=hidden**-0.5), maker.normal(outputs), "relu", reduce)
        )

    flops = 2 * nodes * k * hidden * (1 + outputs if reduce == "max" else 1)
    values = nodes * (2 * hidden + outputs) + 2 * nodes * k
    return BenchCase(f"N{nodes}-k{k}-H{hidden}-O{outputs}-{reduce}", make, flops, 4 * values, quick)


SPEC = OpSpec(
    name="edge_mlp",
    function=edge_mlp,
    stock=stock,
    samples=[
        random(5, 4, 12, 3, 2),
        random(5, 4, 12, 3, None, "none", "mean"),
        random(5, 4, 12, 3, 2, "silu", "sum"),
        random(6, 7, 23, 4, 5, "tanh", "max", bias=False),
        random(1, 1, 1, 1, 1),
        random(29, 31, 400, 33, 70),
        random(29, 31, 400, 64, 64, "gelu"),
        random(29, 31, 400, 40, None, "relu", "max"),
        random(29, 31, 400, 133, 7, "sigmoid", "mean"),
        random(29, 31, 400, 200, None, "relu", "sum"),
        random(200, 5, 300, 17, 33, "none"),
        random(6, 200, 40, 20, 3),
        random(5, 4, 0, 3, 2),
        random(5, 0, 0, 3, 2, reduce="mean"),
        random(5, 4, 9, 0, 2),
        random(5, 4, 9, 3, 0),
        hub("max"),
        hub("sum"),
        Sample("twins", twins),
        Sample("dead", dead),
        Sample("strided", strided),
    ],
    errors=[
        wrong("graph-type", TypeError, "graph", graph=torch.zeros(2, 9, dtype=torch.int64)),
        wrong("p-list", TypeError, "p is a list", p=[1.0]),
        wrong("p-rows", RuntimeError, "p is", p=torch.zeros(6, 3)),
        wrong("p-integers", RuntimeError, "p is", p=torch.zeros(4, 3, dtype=torch.int64)),
        wrong("q-features", RuntimeError, "q is", q=torch.zeros(6, 2)),
        wrong("q-dtype", RuntimeError, "q is", q=torch.zeros(6, 3).double()),
        wrong("weight-features", RuntimeError, "weight is", weight=torch.zeros(2, 4)),
        wrong("weight-sum", RuntimeError, "weight is", weight=torch.zeros(2, 4), reduce="sum"),
        wrong("bias-length", RuntimeError, "bias is", bias=torch.zeros(3)),
        wrong("bias-alone", RuntimeError, "bias without", bias=torch.zeros(3), weight=None),
        wrong("reduce", ValueError, "reduce is", reduce="min"),
        wrong("activation", ValueError, "activation is", activation="step"),
    ],
    bench=[
        bench(10_000, 20, 64, 64, "max", quick=True),
        bench(10_000, 20, 64, 64, "mean", quick=True),
        bench(2000, 40, 128, 256, "max"),
    ],
    length=lambda call: longest_sum(Call((call.args[0], call.args[2]))) if call.args else 1,
    peers={"torch_geometric": peers.torch_geometric},
)
