"""`Graph`: what it is made of, its edits, copies and passage through torch.compile."""

import copy
import io
import pickle

import pytest
import torch
from built import needs_kernels
from torch.utils import _pytree

from nnzoo_fast import Graph, _extension, group_edges
from nnzoo_fast.ops import gather_scatter


def random_graph(nodes=50, count=400, weighted=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(count, generator=generator) if weighted else None
    return Graph(torch.randint(0, nodes, (2, count), generator=generator), nodes, edge_weight=weight)


def same(one: Graph, other: Graph) -> bool:
    tensors = [(*graph.groups, graph.edge_index, graph.edge_weight) for graph in (one, other)]
    return all(a is b if a is None else torch.equal(a, b) for a, b in zip(*tensors, strict=True))


def test_groups_keep_the_callers_order():
    edge_index = torch.tensor([[3, 0, 3, 1], [1, 1, 0, 1]])
    graph = Graph(edge_index, (4, 3))
    assert graph.in_start.tolist() == [0, 1, 4, 4]
    assert graph.in_edge.tolist() == [2, 0, 1, 3] and graph.in_source.tolist() == [3, 3, 0, 1]
    assert graph.out_start.tolist() == [0, 1, 2, 2, 4]
    assert graph.out_edge.tolist() == [1, 3, 0, 2] and graph.out_target.tolist() == [1, 1, 1, 0]
    assert graph.in_degree.tolist() == [1, 3, 0] and graph.out_degree.tolist() == [1, 1, 0, 2]
    assert (graph.num_sources, graph.num_targets, graph.num_nodes, graph.num_edges) == (4, 3, (4, 3), 4)
    assert Graph(edge_index).num_nodes == 4


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("nodes, count", [(1, 5), (7, 0), (300, 100_000), (200_000, 70_000)])
def test_grouping_is_a_stable_sort_on_any_number_of_threads(threads, nodes, count, monkeypatch):
    edge_index = torch.randint(0, nodes, (2, count))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for key in (0, 1):
        expected = group_edges._group_by_sorting(edge_index, key, (nodes, nodes))
        for ours, theirs in zip(group_edges.group_edges(edge_index, key, nodes, nodes), expected, strict=True):
            assert torch.equal(ours, theirs)


def test_without_the_extension_a_graph_is_the_same(monkeypatch):
    graph = random_graph()
    monkeypatch.setattr(_extension, "_C", None)
    assert same(random_graph(), graph)
    with pytest.raises(IndexError, match=r"edge_index\[1, 1\] is 2"):
        Graph(torch.tensor([[0, 1], [1, 2]]), 2)


def test_indices_are_copied():
    edge_index = torch.tensor([[0, 1], [1, 0]])
    graph = Graph(edge_index, 2)
    edge_index.fill_(99)
    assert graph.edge_index.tolist() == [[0, 1], [1, 0]]


def test_graphs_side_by_side():
    graphs = [random_graph(7, 20, weighted=True), random_graph(5, 0, weighted=True), random_graph(9, 31, True, seed=2)]
    batch, index = Graph.batch(graphs)
    offsets = torch.tensor([0, 7, 12])
    edge_index = torch.cat([graph.edge_index + offset for graph, offset in zip(graphs, offsets, strict=True)], 1)
    assert same(batch, Graph(edge_index, 21, edge_weight=torch.cat([graph.edge_weight for graph in graphs])))
    assert index.tolist() == [0] * 7 + [1] * 5 + [2] * 9
    two_kinds, index = Graph.batch(
        [Graph(torch.tensor([[2], [0]]), (3, 1)), Graph(torch.tensor([[0, 1], [1, 1]]), (2, 4))]
    )
    assert same(two_kinds, Graph(torch.tensor([[2, 3, 4], [0, 2, 2]]), (5, 5))) and index.tolist() == [0, 1, 1, 1, 1]
    with pytest.raises(ValueError, match="no graphs"):
        Graph.batch([])
    with pytest.raises(ValueError, match="some graphs"):
        Graph.batch([graphs[0], random_graph(3, 4)])


@pytest.mark.parametrize("weighted", [False, True])
def test_edges_come_and_go(weighted):
    graph, new = random_graph(9, 40, weighted), random_graph(9, 15, weighted, seed=1)
    weight = torch.cat([graph.edge_weight, new.edge_weight]) if weighted else None
    whole = Graph(torch.cat([graph.edge_index, new.edge_index], 1), 9, edge_weight=weight)
    assert same(graph.add_edges(new.edge_index, new.edge_weight), whole)
    assert same(graph.add_edges(new.edge_index[:, :0], None if weight is None else weight[:0]), graph)
    gone = torch.rand(55) < 0.3
    rest = Graph(whole.edge_index[:, ~gone], 9, edge_weight=None if weight is None else weight[~gone])
    assert same(whole.remove_edges(gone), rest) and same(whole.remove_edges(gone.nonzero()), rest)
    assert same(whole.remove_edges(torch.arange(40, 55)), graph)


def test_some_nodes_and_the_edges_among_them():
    graph, nodes = random_graph(9, 40, weighted=True), torch.tensor([4, 0, 7, 5])
    part, places = graph.subgraph(nodes)
    inside = torch.isin(graph.edge_index, nodes).all(0)
    assert torch.equal(places, inside.nonzero()[:, 0]) and part.num_nodes == 4
    assert torch.equal(nodes[part.edge_index], graph.edge_index[:, inside])
    assert torch.equal(part.edge_weight, graph.edge_weight[inside])
    assert graph.subgraph(nodes[:0])[0].num_nodes == 0 and same(graph.subgraph(torch.arange(9))[0], graph)
    for wrong, error, message in (
        ([1], TypeError, "list"),
        (torch.ones(2), ValueError, "float32"),
        (torch.tensor([9]), IndexError, "out of range"),
        (torch.tensor([1, 1]), ValueError, "twice"),
    ):
        with pytest.raises(error, match=message):
            graph.subgraph(wrong)
    with pytest.raises(ValueError, match="two kinds"):
        Graph(torch.tensor([[0], [0]]), (1, 2)).subgraph(nodes)


def test_wrong_edits():
    graph = random_graph(9, 40)
    with pytest.raises(IndexError, match=r"edge_index\[1, 0\] is 9"):
        graph.add_edges(torch.tensor([[0], [9]]))
    with pytest.raises(ValueError, match="edge_weight"):
        graph.add_edges(graph.edge_index, torch.ones(40))
    with pytest.raises(TypeError, match="list"):
        graph.remove_edges([1])
    with pytest.raises(IndexError, match="out of range"):
        graph.remove_edges(torch.tensor([40]))
    with pytest.raises(ValueError, match=r"bool \[39\]"):
        graph.remove_edges(torch.zeros(39, dtype=torch.bool))
    with pytest.raises(ValueError, match="float32"):
        graph.remove_edges(torch.zeros(2))
    with pytest.raises(TypeError, match="order is a list"):
        graph.reordered(list(range(9)))
    with pytest.raises(ValueError, match="order is torch.float32"):
        graph.reordered(torch.arange(9) + 0.5)
    with pytest.raises(TypeError, match=r"graphs\[1\] is a int"):
        Graph.batch([graph, 1])
    with pytest.raises(ValueError, match="count is -1"):
        graph.with_self_loops(-1)
    with pytest.raises(TypeError, match="count is 1.5"):
        graph.with_self_loops(1.5)


def test_from_csr():
    graph = Graph(torch.tensor([[3, 0, 3, 1], [0, 0, 2, 2]]), (4, 3), edge_weight=torch.arange(4.0))
    assert same(
        Graph.from_csr(torch.tensor([0, 2, 2, 4]), graph.edge_index[0], 4, edge_weight=graph.edge_weight), graph
    )
    assert Graph.from_csr(torch.tensor([0]), torch.tensor([], dtype=torch.int64)).num_nodes == 0
    for start in ([1, 2, 4], [0, 3, 2, 4], [0, 2], []):
        with pytest.raises(ValueError, match="without decreasing"):
            Graph.from_csr(torch.tensor(start, dtype=torch.int64), graph.edge_index[0])
    with pytest.raises(IndexError, match="is 3"):
        Graph.from_csr(torch.tensor([0, 2, 4]), graph.edge_index[0], 3)
    with pytest.raises(ValueError, match="start is torch.float32"):
        Graph.from_csr(torch.zeros(2), graph.edge_index[0])


@pytest.mark.parametrize("order", ["breadth_first", "degree", "given"])
def test_other_numbers_of_nodes(order):
    graph = random_graph(30, 60, weighted=True)
    other, found = graph.reordered(torch.randperm(30) if order == "given" else order)
    assert sorted(found.tolist()) == list(range(30))
    x = torch.randn(30, 4)
    torch.testing.assert_close(gather_scatter(x[found], other), gather_scatter(x, graph)[found])
    if order == "degree":
        assert (other.in_degree.diff() <= 0).all()
    with pytest.raises(ValueError, match="no permutation"):
        graph.reordered(torch.zeros(30, dtype=torch.int64))
    with pytest.raises(ValueError, match="order is 'random'"):
        graph.reordered("random")
    with pytest.raises(ValueError, match="two kinds"):
        Graph(torch.zeros(2, 0, dtype=torch.int64), (3, 4)).reordered()


def test_breadth_first_brings_neighbours_together():
    """A path whose nodes have random numbers gets its length back."""
    numbers = torch.randperm(200)
    path = Graph(torch.stack([numbers[:-1], numbers[1:]]), 200)
    far = (path.edge_index[0] - path.edge_index[1]).abs().max()
    near = path.reordered()[0].edge_index.diff(dim=0).abs().max()
    assert near <= 2 < far


def test_self_loops_are_made_once():
    graph = Graph(torch.tensor([[0, 1, 1], [1, 1, 2]]), 3)
    looped, others = graph.with_self_loops()
    assert looped.edge_index.tolist() == [[0, 1, 0, 1, 2], [1, 2, 0, 1, 2]] and others.tolist() == [True, False, True]
    assert graph.with_self_loops()[0] is looped and graph.with_self_loops(2)[0].num_edges == 4
    assert same(pickle.loads(pickle.dumps(graph)), graph)


WRONG = {
    "list": (([[0], [1]], 2), {}, TypeError, "edge_index"),
    "float": ((torch.zeros(2, 3), 2), {}, ValueError, "edge_index"),
    "bool": ((torch.zeros(2, 3, dtype=torch.bool), 2), {}, ValueError, "edge_index"),
    "one-dimension": ((torch.zeros(4, dtype=torch.int64), 2), {}, ValueError, r"expected \[2, E\]"),
    "three-rows": ((torch.zeros(3, 4, dtype=torch.int64), 2), {}, ValueError, r"expected \[2, E\]"),
    "source-high": ((torch.tensor([[0, 5], [0, 0]]), 5), {}, IndexError, r"edge_index\[0, 1\] is 5"),
    "target-high": ((torch.tensor([[0, 4], [3, 0]]), (5, 3)), {}, IndexError, r"edge_index\[1, 0\] is 3"),
    "negative": ((torch.tensor([[0, 1], [0, -1]]), 5), {}, IndexError, r"edge_index\[1, 1\] is -1"),
    "negative-alone": ((torch.tensor([[-2], [-1]]),), {}, IndexError, "is -2"),
    "no-nodes": ((torch.tensor([[0], [0]]), 0), {}, IndexError, "source"),
    "nodes-float": ((torch.zeros(2, 0, dtype=torch.int64), 2.0), {}, TypeError, "num_nodes"),
    "nodes-bool": ((torch.zeros(2, 0, dtype=torch.int64), True), {}, TypeError, "num_nodes"),
    "nodes-three": ((torch.zeros(2, 0, dtype=torch.int64), (1, 2, 3)), {}, TypeError, "num_nodes"),
    "nodes-negative": ((torch.zeros(2, 0, dtype=torch.int64), -1), {}, ValueError, "num_nodes"),
    "nodes-many": ((torch.zeros(2, 0, dtype=torch.int64), 2**31), {}, ValueError, "num_nodes"),
    "nodes-many-by-index": ((torch.tensor([[0], [2**62]]),), {}, ValueError, "num_nodes"),
    "weight-list": ((torch.zeros(2, 1, dtype=torch.int64), 1), {"edge_weight": [1.0]}, TypeError, "edge_weight"),
    "weight-long": (
        (torch.zeros(2, 1, dtype=torch.int64), 1),
        {"edge_weight": torch.ones(2)},
        ValueError,
        "edge_weight",
    ),
    "weight-scalar": ((torch.zeros(2, 1, dtype=torch.int64), 1), {"edge_weight": torch.ones(())}, ValueError, "rows"),
    "weight-integer": (
        (torch.zeros(2, 1, dtype=torch.int64), 1),
        {"edge_weight": torch.ones(1, dtype=torch.int64)},
        ValueError,
        "floating",
    ),
}


@pytest.mark.parametrize("args, kwargs, exception, message", WRONG.values(), ids=WRONG)
def test_wrong_graphs_raise(args, kwargs, exception, message):
    with pytest.raises(exception, match=message):
        Graph(*args, **kwargs)


def test_copies_and_pickles_are_the_same_graph():
    graph = random_graph(weighted=True)
    stream = io.BytesIO()
    torch.save(graph, stream)
    stream.seek(0)
    loaded = torch.load(stream, weights_only=True)
    for twin in (copy.copy(graph), copy.deepcopy(graph), pickle.loads(pickle.dumps(graph)), loaded, graph.to("cpu")):
        assert same(twin, graph) and repr(twin) == repr(graph)
    assert copy.deepcopy(graph).edge_index.data_ptr() != graph.edge_index.data_ptr()


@pytest.mark.parametrize(
    "change, exception",
    [
        ({"edge_index": torch.tensor([[0, 9], [0, 0]])}, IndexError),
        ({"num_nodes": (1, 50)}, IndexError),
        ({"edge_index": "no tensor"}, TypeError),
        ({"edge_weight": torch.ones(3)}, ValueError),
    ],
)
def test_a_hostile_pickle_raises(change, exception):
    graph = Graph(torch.tensor([[0, 4], [1, 0]]), 5, edge_weight=torch.ones(2))
    state = {**graph.__getstate__(), **change}

    class Hostile:
        def __reduce__(self):
            return Graph.__new__, (Graph,), state

    with pytest.raises(exception):
        pickle.loads(pickle.dumps(Hostile()))


def test_to_moves_all_tensors_and_casts_weights_only():
    graph = random_graph(weighted=True).to(torch.float64)
    assert graph.edge_weight.dtype == torch.float64 and graph.in_start.dtype == torch.int32
    assert all(tensor.is_meta for tensor in (*graph.to("meta").groups, graph.to("meta").edge_weight))
    with pytest.raises(TypeError):
        graph.to(torch.int32)


def test_reverse_turns_edges_around():
    graph = Graph(torch.tensor([[0, 2, 2], [1, 1, 0]]), (3, 2))
    assert same(graph.reverse(), Graph(graph.edge_index.flip(0), (2, 3)))
    assert same(graph.reverse().reverse(), graph)


def test_a_graph_is_a_pytree():
    graph = random_graph(weighted=True)
    leaves, spec = _pytree.tree_flatten((graph, 3))
    assert sum(isinstance(leaf, torch.Tensor) for leaf in leaves) == 8
    assert same(_pytree.tree_unflatten(leaves, spec)[0], graph)


@pytest.mark.parametrize("reduce", ["sum", ["mean", "max"]])
def test_a_graph_passes_through_compile_and_its_tensors_are_the_ops_arguments(reduce):
    torch._dynamo.reset()
    seen = []

    def keep(module, inputs):
        seen.append(module)
        return module

    compiled = torch.compile(lambda x, g: gather_scatter(x, g, None, reduce), fullgraph=True, backend=keep)
    for seed in (0, 1):
        x, graph = torch.randn(50, 8), random_graph(weighted=True, seed=seed)
        torch.testing.assert_close(compiled(x, graph), gather_scatter(x, graph, None, reduce))
    assert len(seen) == 1, "a second graph of the same size compiles nothing anew"
    assert "nnzoo_fast.gather_scatter" in seen[0].code


def test_a_graph_is_built_inside_a_compiled_function():
    torch._dynamo.reset()

    def build(x, edge_index):
        return gather_scatter(x, Graph(edge_index, x.shape[0]))

    x, edge_index = torch.randn(50, 8), random_graph().edge_index
    compiled = torch.compile(build, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, edge_index), build(x, edge_index))
    with pytest.raises(IndexError, match="source"):
        compiled(x, edge_index + 1)
