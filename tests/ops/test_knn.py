"""What the matrix can't say of `knn`: exactness where a product loses it, ties, graphs, radii, threads."""

import math

import pytest
import torch
from built import needs_kernels

from nnzoo_fast import Graph, _extension, nn, ops


def brute_force(x, y, k, radius=math.inf, same=True):
    """[2, found], by distances in float64 of differences, then by index."""
    distance = (y.double()[:, None] - x.double()).square().sum(-1).sqrt()
    hidden = distance > radius
    if not same:
        hidden |= torch.eye(len(x), dtype=torch.bool)
    distance, index = distance.masked_fill(hidden, math.inf).sort(dim=1, stable=True)
    there = distance[:, :k] < math.inf
    query = torch.arange(len(y))[:, None].expand_as(there)
    return torch.stack([query[there], index[:, :k][there]])


def by_product(x, y, k):
    """The same in x's dtype by |x|^2 + |y|^2 - 2 <x, y>."""
    distance = y.square().sum(1)[:, None] + x.square().sum(1) - 2 * y @ x.t()
    index = distance.topk(k, largest=False).indices
    return torch.stack([torch.arange(len(y))[:, None].expand_as(index).reshape(-1), index.reshape(-1)])


@needs_kernels
@pytest.mark.parametrize("isa_name", ["baseline", "avx2", "avx512", "avx512_bf16"])
@pytest.mark.parametrize("dim", [6, 40])
def test_far_from_the_origin(dim, isa_name, isa):
    """A cluster a thousand times its size away, and two such: a plain product is wrong there, which shows that this
    can fail."""
    if isa_name not in _extension._C.isas():
        pytest.skip(f"this CPU has no {isa_name}")
    isa(isa_name)
    x = torch.randn(600, dim) + 1000
    assert torch.equal(ops.knn(x, x[:50], 9, backend="cpu"), brute_force(x, x[:50], 9))
    assert not torch.equal(by_product(x, x[:50], 9), brute_force(x, x[:50], 9))
    x[::2] -= 2000
    x[7], x[8] = 1e6, -3e9  # outliers
    assert torch.equal(ops.knn(x, x[:50], 9, backend="cpu"), brute_force(x, x[:50], 9))


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("dim", [1, 2, 3, 8, 100])
def test_random_and_tied_points(dtype, dim):
    for seed, k in enumerate((1, 5, 40, 300)):
        torch.manual_seed(seed)
        x = torch.randn(257, dim, dtype=dtype)
        x[100:200] = x[:100]
        y = torch.cat([x[::7], torch.randn(20, dim, dtype=dtype)])
        assert torch.equal(ops.knn(x, y, k, backend="cpu"), brute_force(x, y, k))
        grid = (torch.rand(257, dim) * 4).round().to(dtype)
        assert torch.equal(ops.knn_graph(grid, k, backend="cpu"), brute_force(grid, grid, k, same=False).flip(0))


@needs_kernels
def test_thousands_in_one_place():
    x = torch.ones(5000, 4)
    x[4000] = 0
    index = ops.knn(x, x[:3], 3, backend="cpu")
    assert index[1].tolist() == [0, 1, 2] * 3
    assert ops.knn(x, x[4000:4001], 2, backend="cpu")[1].tolist() == [4000, 0]


@needs_kernels
def test_any_number_of_threads(monkeypatch):
    x, batch = torch.randn(3000, 10), torch.arange(3000) // 700
    expected = None
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        found = ops.knn(x, x, 6, batch, batch, return_distance=True, backend="cpu")
        expected = expected or found
        assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_knn_graph(loop, flow):
    x, batch = torch.randn(40, 3), torch.tensor([0] * 20 + [1] * 3 + [3] * 17)
    index = ops.knn_graph(x, 4, batch, loop, flow)
    source, target = index if flow == "source_to_target" else index.flip(0)
    assert torch.equal(batch[source], batch[target])
    assert bool((source == target).any()) is loop
    sizes = torch.bincount(batch)[batch] - int(not loop)
    assert torch.equal(torch.bincount(target, minlength=40), sizes.clamp(max=4))
    part = ops.knn_graph(x[23:], 4, None, loop, flow) + 23
    assert torch.equal(index[:, index[0] >= 23], part)
    assert Graph(index, 40).num_edges == index.shape[1]
    assert torch.equal(nn.knn_graph(x, 4, batch, loop, flow), index)


@pytest.mark.parametrize("most", [1, 7, 32, None])
@pytest.mark.parametrize("r", [0.0, 0.5, 1.5, 100.0, math.inf])
def test_radius(r, most):
    x, y = (torch.rand(400, 2) * 20).round() / 10, torch.rand(30, 2) * 2
    k = len(x) if most is None else most
    assert torch.equal(ops.radius(x, y, r, max_num_neighbors=most), brute_force(x, y, k, r))
    graph = ops.radius_graph(x, r, max_num_neighbors=most)
    assert torch.equal(graph, brute_force(x, x, k, r, same=False).flip(0))
    with_loops = ops.radius_graph(x, r, loop=True, max_num_neighbors=most, flow="target_to_source")
    assert torch.equal(with_loops, brute_force(x, x, k, r))


def test_radius_in_batches():
    x, batch = torch.rand(60, 3), torch.arange(60) // 20
    index = ops.radius_graph(x, 0.4, batch)
    assert torch.equal(batch[index[0]], batch[index[1]])
    first = ops.radius_graph(x[:20], 0.4)
    assert torch.equal(index[:, index[1] < 20], first)


@pytest.mark.parametrize("cosine", [False, True])
def test_scikit_learn_finds_the_same(cosine):
    neighbours = pytest.importorskip("sklearn.neighbors")
    x = torch.randn(300, 8, dtype=torch.float64)
    finder = neighbours.NearestNeighbors(n_neighbors=5, algorithm="brute", metric="cosine" if cosine else "euclidean")
    expected_distance, expected = finder.fit(x.numpy()).kneighbors(x.numpy())
    index, distance = ops.knn(x, x, 5, cosine=cosine, return_distance=True)
    assert torch.equal(index[1], torch.from_numpy(expected).reshape(-1))
    # Its distance of a point to itself is rounding, magnified by a root.
    torch.testing.assert_close(distance, torch.from_numpy(expected_distance).reshape(-1), rtol=1e-6, atol=1e-6)


def test_neighbours_have_no_gradient_and_need_none():
    x = torch.randn(20, 3, requires_grad=True)
    index, distance = ops.knn(x, x, 2, return_distance=True)
    assert not index.requires_grad and not distance.requires_grad


def test_compiles():
    torch._dynamo.reset()
    x = torch.randn(50, 3)
    assert torch.equal(torch.compile(ops.knn_graph, backend="aot_eager")(x, 4), ops.knn_graph(x, 4))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: ops.radius(x, x, -1.0), "r is -1"),
        (lambda x: ops.radius_graph(x, math.nan), "r is nan"),
        (lambda x: ops.radius_graph(x, 1.0, max_num_neighbors=0), "max_num_neighbors"),
        (lambda x: ops.knn_graph(x, 0), "k is 0"),
        (lambda x: ops.knn_graph(x, 2, flow="up"), "flow"),
        (lambda x: ops.knn_graph(x, 2, torch.tensor([1, 0, 0])), "must not decrease"),
        (lambda x: ops.knn_graph(x.log(), 2), "not finite"),
    ],
)
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(3, 2))
