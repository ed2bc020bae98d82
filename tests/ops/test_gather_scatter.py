"""What the matrix can't say of `gather_scatter`: memory, threads, the ladder, tampered graphs."""

import subprocess
import sys

import matrix
import pytest
import torch
from built import needs_kernels

import nnzoo_fast
from nnzoo_fast import Graph, _extension
from nnzoo_fast.ops import gather_scatter, scatter
from nnzoo_fast.ops.gather_scatter import cpu

SPEC = matrix.SPECS["gather_scatter"]


def random_graph(nodes=50, count=400, weighted=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(count, generator=generator) if weighted else None
    return Graph(torch.randint(0, nodes, (2, count), generator=generator), nodes, edge_weight=weight)


def test_fx_records_the_call():
    graph = random_graph()
    traced = torch.fx.symbolic_trace(lambda x: gather_scatter(x, graph, None, ["sum", "max"])[1] * 2)
    x = torch.randn(50, 3)
    assert torch.equal(traced(x), gather_scatter(x, graph, reduce="max") * 2)


def test_transforms_of_functorch():
    graph, x = random_graph(weighted=True), torch.randn(4, 50, 3, dtype=torch.float64)
    graph = graph.to(torch.float64)
    for reduce in ("sum", "mean", "max"):
        one_by_one = torch.stack([gather_scatter(row, graph, reduce=reduce) for row in x])
        torch.testing.assert_close(
            torch.vmap(lambda row, r=reduce: gather_scatter(row, graph, reduce=r))(x), one_by_one
        )


@needs_kernels
def test_results_are_bit_equal_on_any_number_of_threads(monkeypatch):
    """Also with a hub, whose features are then divided among the threads."""
    graph = random_graph(300, 20_000)
    hub = graph.edge_index.clone()
    hub[1, 1000:], hub[0, :15_000] = 7, 3
    for edges in (graph, Graph(hub, 300)):
        for dtype in (torch.float32, torch.bfloat16):
            x, weight = torch.randn(300, 67).to(dtype).requires_grad_(), torch.randn(20_000).to(dtype).requires_grad_()
            results = []
            for threads in (1, 2, 3, 8):
                monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
                out = torch.stack(gather_scatter(x, edges, weight, ["sum", "mean", "max", "min"], backend="cpu"))
                results.append((out, *torch.autograd.grad(out.float().sin().sum(), (x, weight))))
            for other in results[1:]:
                assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@needs_kernels
@pytest.mark.parametrize("name", _extension._C.isas() if _extension._C else [])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_large_results_equal_those_of_their_halves(dtype, name, isa):
    """Results of 16 MiB and more are written past the caches, where rows, and heads in them, are whole lines."""
    isa(name)
    generator = torch.Generator().manual_seed(2)
    nodes, count = 17_000, 20_000
    graph = Graph(torch.randint(0, nodes, (2, count), generator=generator), nodes)
    width = 1024 // dtype.itemsize
    for weight, head in ((None, width // 2), (torch.rand(count, 2, 1, generator=generator), width // 2 - 8)):
        weights = weight if weight is None else weight.to(dtype)
        x = torch.randn(nodes, 2, head, generator=generator).to(dtype).requires_grad_()
        out = gather_scatter(x, graph, weights, reduce="mean", backend="cpu")
        grad = torch.randn(out.shape, generator=generator).to(dtype)
        (received,) = torch.autograd.grad(out, x, grad)
        for i in range(2):
            half = x.detach()[:, i].clone().requires_grad_()
            part = gather_scatter(
                half, graph, None if weight is None else weights[:, i, 0], reduce="mean", backend="cpu"
            )
            assert torch.equal(out[:, i], part)
            assert torch.equal(received[:, i], torch.autograd.grad(part, half, grad[:, i].contiguous())[0])


@needs_kernels
@pytest.mark.parametrize("name", _extension._C.isas() if _extension._C else [])
@pytest.mark.parametrize("size", [1, 2, 39])
def test_equal_messages_cancel(size, name, isa):
    isa(name)
    generator = torch.Generator().manual_seed(4)
    row = 100 + torch.rand(33, generator=generator)
    graph = Graph(torch.stack([torch.arange(size), torch.zeros(size, dtype=torch.int64)]), (size, 1))
    for shape in ([size], [size, 33]):
        weight = (50 + torch.rand(shape[1:], generator=generator)).expand(shape).contiguous()
        factor = weight if len(shape) == 2 else weight[:, None]
        for reduce, expected in {"var": 0.0, "std": 0.0, "softmax": factor / size}.items():
            x = row.repeat(size, 1).requires_grad_()
            out = gather_scatter(x, graph.with_weight(weight), reduce=reduce, backend="cpu")
            grad = torch.autograd.grad(out.sum(), x)[0]
            torch.testing.assert_close(grad, torch.as_tensor(expected).expand_as(grad), rtol=1e-6, atol=0)


@pytest.mark.parametrize("variant", SPEC.variants)
@pytest.mark.parametrize("dtype", SPEC.dtypes)
def test_every_rung_of_the_ladder_is_right(variant, dtype):
    name = SPEC.variants[variant].keywords["backend"]
    row = next(row for row in matrix.operation_of(SPEC.name).table if row.name == name)
    samples = [s for s in SPEC.samples if row.supports(*matrix.reached_by(SPEC, s.make(matrix.Maker(dtype)))[1])[0]]
    assert len(samples) > 20
    for sample in samples:
        problems = matrix.deviations(SPEC, sample, dtype, SPEC.variants[variant])
        assert not problems, "\n".join(problems)


@needs_kernels
@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_a_million_edges_need_no_buffer_of_messages(reduce):
    """The peak of memory of forward and backward, in a process of its own; stock torch's is the negative control."""
    ours, stock = (peak_of(function, reduce) for function in ("gather_scatter", "stock"))
    messages = 1_000_000 * 64 * 4 / 2**20
    assert ours < messages, f"{ours:.0f} MiB"
    assert stock > messages, f"{stock:.0f} MiB"


PEAK = """
import torch
from nnzoo_fast import Graph
from nnzoo_fast.ops.gather_scatter import gather_scatter
from nnzoo_fast.ops.gather_scatter.spec import stock

def peak():  # of this program; getrusage would count what the process was before, a copy of the test's
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

torch.set_num_threads(2)
generator = torch.Generator().manual_seed(0)
graph = Graph(torch.randint(0, 20_000, (2, 1_000_000), generator=generator), 20_000)
x, weight = torch.randn(20_000, 64, requires_grad=True), torch.rand(1_000_000, requires_grad=True)
small = Graph(torch.zeros(2, 3, dtype=torch.int64), 20_000)
{function}(x, small, torch.ones(3), "{reduce}").sum().backward()
before = peak()
{function}(x, graph, weight, "{reduce}").sum().backward()
print((peak() - before) / 1024)
"""


def peak_of(function: str, reduce: str) -> float:
    """MiB that the call adds to the peak of the process's memory."""
    program = PEAK.format(function=function, reduce=reduce)
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


TAMPERED = {
    "start-decreasing": ("in_start", lambda t: t[3].fill_(0), "sum"),
    "start-beyond": ("in_start", lambda t: t[-1].add_(1), "sum"),
    "source-high": ("in_source", lambda t: t[5].fill_(50), "max"),
    "source-negative": ("in_source", lambda t: t[5].fill_(-1), "sum"),
    "edge-high": ("in_edge", lambda t: t[7].fill_(400), "sum"),
}


@needs_kernels
@pytest.mark.parametrize("name, tamper, reduce", TAMPERED.values(), ids=TAMPERED)
@pytest.mark.parametrize("backend", ["cpu", "cpu_pull"])
def test_a_tampered_graph_raises(name, tamper, reduce, backend):
    graph = random_graph(weighted=True)
    tamper(getattr(graph, name))
    with pytest.raises(IndexError, match="no longer describe a graph"):
        gather_scatter(torch.randn(50, 3), graph, reduce=reduce, backend=backend)


@needs_kernels
def test_a_tampered_graph_raises_in_backward():
    for name in ("out_target", "out_edge", "in_source"):
        graph = random_graph(weighted=True)
        x, weight = torch.randn(50, 3, requires_grad=True), graph.edge_weight.clone().requires_grad_()
        out = gather_scatter(x, graph, weight, backend="cpu")
        getattr(graph, name)[3] = 5000
        with pytest.raises((IndexError, RuntimeError), match="no longer describe|modified by an inplace"):
            out.sum().backward()


@needs_kernels
@pytest.mark.parametrize("place", [2, 5])
def test_bits_of_ties_are_written_and_read_only_for_edges_that_exist(place):
    groups, x, needs = random_graph().groups, torch.randn(50, 3), (True, *(False,) * 7)
    (out,) = cpu.forward_by("tiled")(x, None, *groups, "max", True)
    cpu.backward((out,), (x, None, *groups, "max"), (out,), needs)
    broken = [tensor.clone() for tensor in groups]
    broken[place][7] = 400
    with pytest.raises(IndexError, match="no longer describe"):
        cpu.backward((out,), (x, None, *broken, "max"), (out,), needs)


def test_dtypes_are_promoted_as_in_a_product():
    graph = random_graph()
    x, weight = torch.randn(50, 4, dtype=torch.bfloat16), torch.rand(400)
    assert gather_scatter(x, graph, weight).dtype == torch.float32
    assert gather_scatter(x, graph, weight.to(torch.bfloat16)).dtype == torch.bfloat16


def test_weights_that_broadcast_over_leading_features_run_on_stock_torch():
    graph, x, weight = random_graph(), torch.randn(50, 3, 4), torch.rand(400, 1, 4)
    expected = gather_scatter(x, graph, weight.expand(400, 3, 4))
    torch.testing.assert_close(gather_scatter(x, graph, weight), expected)
    with pytest.raises(nnzoo_fast.BackendError, match="broadcasts"):
        gather_scatter(x, graph, weight, backend="cpu")


@pytest.mark.parametrize("reduce", ["sum", "add", "mean", "max", "min", "amax", "mul", "any"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_scatter_equals_pyg(reduce, dim):
    pyg = pytest.importorskip("torch_geometric.utils").scatter
    src, index = (
        torch.randn(6, 6, 6).bool() if reduce == "any" else torch.rand(6, 6, 6) + 0.5,
        torch.randint(0, 4, (6,)),
    )
    torch.testing.assert_close(scatter(src, index, dim, 5, reduce), pyg(src, index, dim, 5, reduce))
    torch.testing.assert_close(scatter(src, index, dim, reduce=reduce), pyg(src, index, dim, reduce=reduce))


def test_scatter_reduces_integers():
    src, index = torch.tensor([3, 1, 2]), torch.tensor([0, 0, 2])
    assert scatter(src, index).tolist() == [4, 0, 2]
    assert scatter(src, index, reduce="max").tolist() == [3, 0, 2]
