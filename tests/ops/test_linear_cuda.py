"""What the matrix can't say of the CUDA kernels of `linear`, on the emulator: every transposition and tail on every
rung, slices of the depth, persistent clusters, and which calls reach which kernel."""

import itertools

import pytest
import torch

import nnzoo_fast
from nnzoo_fast import _extension
from nnzoo_fast.activations import ACTIVATIONS, NEEDS_PREACTIVATION
from nnzoo_fast.ops import linear
from nnzoo_fast.ops.linear import cuda, cuda_plan
from nnzoo_fast.ops.linear.cuda_plan import Kernel, kernel_for
from nnzoo_fast.spec import Error, allowed_error

pytestmark = pytest.mark.skipif(_extension.load("_cuemu") is None, reason="needs the emulator (make build)")
HALVES = [torch.bfloat16, torch.float16]
DTYPES = [torch.float32, torch.float64, *HALVES]
TENSOR_CORES = [Kernel.HOPPER, Kernel.TENSOR]
LAYOUTS = list(itertools.product([False, True], repeat=2))


def matrix(rows, depth, dtype, transposed=False):
    values = torch.randn(depth, rows).t() if transposed else torch.randn(rows, depth)
    return values.to(dtype)


def deviates(a, b, out, bias=None, activation="none", residual=None):
    """Whether `out` is further from the product in float64 than stock torch's, in the same dtype, allows."""
    a64, b64, *wide = [None if tensor is None else tensor.double() for tensor in (a, b, bias, residual)]
    exact = linear(a64, b64, wide[0], activation, wide[1], backend="reference")
    peer = linear(a, b, bias, activation, residual, backend="reference")
    return not Error.of(out, exact).within(allowed_error(Error.of(peer, exact), out.dtype, a.shape[1]))


def check(top, a, b, bias=None, activation="none"):
    out = a.new_full((a.shape[0], b.shape[0]), float("nan"))
    cuda.product(a, b, out, bias, activation, top=top)
    assert not deviates(a, b, out, bias, activation)
    return out


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("top", TENSOR_CORES)
def test_every_transposition(top, dtype, layout):
    for rows, columns, depth in ((8, 8, 8), (72, 136, 200)):
        a, b = (
            matrix(size, depth, dtype, transposed) for size, transposed in zip((rows, columns), layout, strict=True)
        )
        assert kernel_for(top, a, b) == top
        check(top, a, b, torch.randn(columns).to(dtype), "gelu")


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("top", [Kernel.VECTORS, Kernel.TILED, Kernel.NAIVE])
def test_rungs_without_tensor_cores(top, dtype, layout):
    for rows, columns, depth in ((1, 3, 2), (70, 41, 37), (16, 136, 64)):
        a, b = (
            matrix(size, depth, dtype, transposed) for size, transposed in zip((rows, columns), layout, strict=True)
        )
        check(top, a, b, torch.randn(columns).to(dtype), "silu")


@pytest.mark.parametrize("top", TENSOR_CORES)
def test_results_whose_rows_are_no_packs(top):
    """They are stored element by element, beside what tensor maps and packs would overwrite."""
    for columns in (1, 5, 133):
        check(top, matrix(19, 64, torch.bfloat16), matrix(columns, 64, torch.bfloat16))


@pytest.mark.parametrize("top", [*TENSOR_CORES, Kernel.VECTORS])
def test_a_result_that_starts_between_packs(top):
    a, b = matrix(19, 64, torch.bfloat16), matrix(72, 64, torch.bfloat16)
    out = torch.full((19 * 72 + 3,), float("nan"), dtype=torch.bfloat16)[3:].view(19, 72)
    cuda.product(a, b, out, top=top)
    assert not deviates(a, b, out)


@pytest.mark.parametrize("columns", [80, 75])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("top", TENSOR_CORES)
def test_epilogue(top, activation, columns):
    """What is kept is the activation's argument or its result."""
    a, b, bias = (values.bfloat16() for values in (torch.randn(24, 32), torch.randn(columns, 32), torch.randn(columns)))
    residual = torch.randn(24, columns).bfloat16()
    out, kept = (torch.full((24, columns), float("nan"), dtype=torch.bfloat16) for _ in range(2))
    cuda.product(a, b, out, bias, activation, kept, top, residual)
    assert not deviates(a, b, out, bias, activation, residual)
    assert not deviates(a, b, kept, bias, "none" if activation in NEEDS_PREACTIVATION else activation)


@pytest.mark.parametrize("layout", [(False, False), (True, True)], ids=str)
def test_persistent_clusters(layout):
    """15 wide tiles for two clusters, the last of which has one row of tiles too many."""
    a, b = (matrix(size, 136, torch.bfloat16, transposed) for size, transposed in zip((600, 520), layout, strict=True))
    out = check(Kernel.HOPPER, a, b)
    narrow = torch.empty_like(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_plan, "EMULATED_MULTIPROCESSORS", 1)
        cuda.product(a, b, narrow)
    assert torch.equal(out, narrow)  # how many blocks there are, and how wide, changes no bit


@pytest.mark.parametrize("order", ["reverse", "random:3"])
def test_clusters_in_every_schedule(order, monkeypatch):
    a, b = matrix(264, 136, torch.bfloat16), matrix(264, 136, torch.bfloat16, True)
    out = check(Kernel.HOPPER, a, b, activation="relu")
    monkeypatch.setenv("CUEMU_ORDER", order)
    assert torch.equal(out, check(Kernel.HOPPER, a, b, activation="relu"))


@pytest.mark.parametrize(
    "top, dtype",
    [(Kernel.HOPPER, torch.bfloat16), (Kernel.TENSOR, torch.float16), (Kernel.VECTORS, torch.float64)],
    ids=str,
)
@pytest.mark.parametrize("depth", [136, 232])
def test_slices_of_the_depth(top, dtype, depth, monkeypatch):
    monkeypatch.setattr(cuda_plan, "SHORTEST_SLICE", 64)
    a, b, bias = matrix(24, depth, dtype), matrix(40, depth, dtype, True), torch.randn(40).to(dtype)
    assert cuda_plan.slice_of(top, 24, 40, depth) == 64
    out = check(top, a, b, bias, "tanh")
    assert torch.equal(out, check(top, a, b, bias, "tanh"))


def test_slices_where_rows_are_no_packs(monkeypatch):
    """`staged` slices too."""
    monkeypatch.setattr(cuda_plan, "SHORTEST_SLICE", 64)
    a, b = matrix(9, 131, torch.bfloat16), matrix(7, 131, torch.bfloat16)
    assert kernel_for(Kernel.HOPPER, a, b) == Kernel.STAGED
    check(Kernel.HOPPER, a, b)


def test_few_tiles_and_much_depth_are_sliced():
    assert cuda_plan.slice_of(Kernel.HOPPER, 768, 768, 8192) == 2752  # 36 tiles: three slices
    assert cuda_plan.slice_of(Kernel.HOPPER, 128, 128, 1 << 20) == 8000
    assert cuda_plan.slice_of(Kernel.HOPPER, 4096, 4096, 8192) == 8192
    assert cuda_plan.slice_of(Kernel.NAIVE, 128, 128, 8192) == 8192


def rows_of_pitch(rows, depth, pitch, start=0):
    return torch.randn(rows * pitch + start + 8).bfloat16().as_strided((rows, depth), (pitch, 1), start)


WHICH = {
    "rows": (rows_of_pitch(9, 24, 32), Kernel.HOPPER),
    "rows of any length": (rows_of_pitch(9, 20, 24), Kernel.HOPPER),
    "columns": (rows_of_pitch(24, 9, 24).t(), Kernel.HOPPER),
    "overlapping rows": (rows_of_pitch(9, 24, 16), Kernel.STAGED),
    "an odd pitch": (rows_of_pitch(9, 24, 28), Kernel.STAGED),
    "an odd start": (rows_of_pitch(9, 24, 32, 4), Kernel.STAGED),
    "one row for all": (torch.randn(24).bfloat16().expand(9, 24), Kernel.STAGED),
    "every second column": (torch.randn(9, 48).bfloat16()[:, ::2], Kernel.STAGED),
    "float32": (torch.randn(9, 24), Kernel.VECTORS),
    "float64": (torch.randn(9, 24, dtype=torch.float64), Kernel.VECTORS),
}


@pytest.mark.parametrize("what", WHICH)
def test_which_kernel(what):
    a, kernel = WHICH[what]
    b = matrix(16, a.shape[1], a.dtype, transposed=a.shape[1] % 8 != 0)
    assert kernel_for(Kernel.HOPPER, a, b) == kernel
    check(Kernel.HOPPER, a, b)


def test_other_gpus_take_the_twin(monkeypatch):
    monkeypatch.setattr(cuda_plan, "has_wgmma", lambda tensor: False)
    call = matrix(8, 16, torch.float16), matrix(8, 16, torch.float16)
    assert kernel_for(Kernel.HOPPER, *call) == Kernel.TENSOR
    assert kernel_for(Kernel.VECTORS, *call) == Kernel.VECTORS


def gradients(call, backend):
    with nnzoo_fast.backend(backend):
        output = linear(*call, "gelu")
        cotangent = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
        return [output.detach(), *torch.autograd.grad(output, call[:3], cotangent)]


@pytest.mark.parametrize("backend", ["cuemu", "cuemu_tensor"])
def test_training(backend, monkeypatch):
    """Three slices of rows for the bias, two of the depth for the weight."""
    monkeypatch.setattr(cuda_plan, "SHORTEST_SLICE", 64)
    call = [tensor.requires_grad_() for tensor in (matrix(136, 40, torch.bfloat16), matrix(72, 40, torch.bfloat16))]
    call.append(torch.randn(72).bfloat16().requires_grad_())
    exact = gradients([tensor.detach().double().requires_grad_() for tensor in call], "reference")
    rows = zip(gradients(call, backend), gradients(call, "reference"), exact, strict=True)
    for value, peer, truth in rows:
        assert Error.of(value, truth).within(allowed_error(Error.of(peer, truth), value.dtype, 136))


def test_a_wrong_slice_is_noticed(monkeypatch):
    """The negative control: a plan that forgets the end of the depth."""
    monkeypatch.setattr(cuda_plan, "SHORTEST_SLICE", 64)
    monkeypatch.setattr(cuda, "kernel_for", lambda top, a, b: Kernel.HOPPER)
    a, b = matrix(24, 136, torch.bfloat16), matrix(40, 136, torch.bfloat16)
    out = torch.empty(24, 40, dtype=torch.bfloat16)
    cuda.product(a[:, :128], b[:, :128], out)
    assert deviates(a, b, out)


def test_float32_has_no_tensor_core_rung():
    with pytest.raises(RuntimeError, match="bfloat16 and float16"):
        linear(torch.randn(3, 8), torch.randn(5, 8), backend="cuemu_tensor")
