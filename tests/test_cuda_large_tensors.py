"""The CUDA kernels on tensors of more than 2^32 elements, on the emulator: rows lie far apart in a sparse file, of
which only the pages with a row in them ever exist."""

import functools

import pytest
import torch

import nnzoo_fast
from nnzoo_fast import Graph, _extension
from nnzoo_fast.ops import attention, conv, gather_scatter, linear
from nnzoo_fast.ops.linear import cuda
from nnzoo_fast.ops.linear.cuda_plan import Kernel

pytestmark = pytest.mark.skipif(_extension.load("_cuemu") is None, reason="needs the emulator (make build)")

FAR = 2**31 + 64
"""Elements from one row to the next: the third begins beyond 2^32, at 128 for who counts in 32 bits."""


@pytest.fixture
def spread(tmp_path):
    """`spread(tensor, dim)`: the same values with `FAR` elements between neighbours along a dimension of three."""
    count = 0

    def spread(tensor, dim=0):
        nonlocal count
        count += 1
        dense = tensor.detach().movedim(dim, 0).contiguous()
        size = 2 * FAR + dense[0].numel()
        storage = torch.from_file(str(tmp_path / str(count)), shared=True, size=size, dtype=tensor.dtype)
        view = storage.as_strided(dense.shape, (FAR, *dense.stride()[1:]))
        view.copy_(dense)
        assert tensor.shape[dim] == 3 and view[2].storage_offset() >= 2**32
        return view.movedim(0, dim).requires_grad_(tensor.requires_grad)

    return spread


def results(function, tensors, spread, *dims):
    """The output and every gradient of a call whose tensors, and the output's gradient, are spread along `dims`."""
    far = [tensor if dim is None else spread(tensor, dim) for tensor, dim in zip(tensors, dims, strict=False)]
    output = function(*far)
    cotangent = torch.linspace(-1, 1, output.numel()).to(output.dtype).view_as(output)
    if dims[-1] is not None:
        cotangent = spread(cotangent, dims[-1])
    return [output.detach(), *torch.autograd.grad(output, [t for t in far if t.requires_grad], cotangent)]


def assert_equal(function, tensors, spread, *dims):
    near = results(function, tensors, spread, *[None] * len(dims))
    for one, other in zip(results(function, tensors, spread, *dims), near, strict=True):
        assert torch.equal(one, other)


def random(*shape, dtype=torch.bfloat16):
    return torch.randn(shape).to(dtype).requires_grad_()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("rung", ["cuemu", "cuemu_tensor", "cuemu_vectors", "cuemu_tiled", "cuemu_naive"])
def test_linear(rung, dtype, spread):
    if rung == "cuemu_tensor" and dtype == torch.float32:
        return  # declined, as tests/ops/test_linear_cuda.py holds
    function = functools.partial(linear, activation="gelu", backend=rung)
    assert_equal(function, [random(3, 24, dtype=dtype), random(3, 24, dtype=dtype)], spread, 0, 0, 0)


@pytest.mark.parametrize("rung", ["cuemu", "cuemu_packed", "cuemu_scalar"])
def test_gather_scatter(rung, spread):
    graph = Graph(torch.tensor([[0, 1, 2, 2], [1, 2, 0, 2]]), num_nodes=3)
    function = functools.partial(gather_scatter, graph=graph, reduce="max")
    with nnzoo_fast.backend(rung):
        assert_equal(function, [random(3, 16)], spread, 0, None)


def test_gather_scatter_declines_more_features_than_its_grid_has():
    graph = Graph(torch.tensor([[0], [0]]), num_nodes=1)
    with pytest.raises(nnzoo_fast.BackendError, match="features"):
        gather_scatter(torch.zeros(1, 1).expand(1, 2**31), graph, backend="cuemu")


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("rung", ["cuemu", "cuemu_tensor", "cuemu_tiled"])
def test_attention(rung, dim, spread):
    call = [random(1, 3, 3, 16) for _ in range(3)]
    assert_equal(functools.partial(attention, backend=rung), call, spread, dim, dim, dim, None)


@pytest.mark.parametrize("dim", [0, 1])
def test_conv(dim, spread):
    call = [random(3, 3, 5, 5), random(3, 3, 3, 3)]
    assert_equal(functools.partial(conv, backend="cuemu"), call, spread, dim, None, dim)


@pytest.mark.parametrize("top", list(Kernel))
def test_counting_in_32_bits_is_noticed(top, spread):
    """The negative control: 64 elements are what 32 bits leave of the distance."""
    far = spread(torch.randn(3, 24).bfloat16())
    wrapped = far.as_strided(far.shape, (FAR % 2**32 - 2**31, 1))
    right, wrong = (torch.empty(3, 3, dtype=far.dtype) for _ in range(2))
    cuda.product(far, far.contiguous(), right, top=top)
    cuda.product(wrapped, far.contiguous(), wrong, top=top)
    assert torch.equal(right[0], wrong[0]) and not torch.equal(right[2], wrong[2])
