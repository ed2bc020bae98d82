"""What the matrix can't say of the CUDA kernels of `attention`, on the emulator: dropout, packs, hidden tiles."""

import pytest
import torch

from nnzoo_fast import _extension
from nnzoo_fast.ops import attention
from nnzoo_fast.spec import Error, allowed_error

pytestmark = pytest.mark.skipif(_extension.load("_cuemu") is None, reason="needs the emulator (make build)")
RUNGS = ["cuemu", "cuemu_tensor", "cuemu_tiled"]
HALVES = [torch.bfloat16, torch.float16]


def tensors(queries, keys, size, value_dim=None, dtype=torch.bfloat16):
    """Query with four heads, key and value with two."""
    sizes = ((4, queries, size), (2, keys, size), (2, keys, value_dim or size))
    return [torch.randn(1, *shape).to(dtype).requires_grad_() for shape in sizes]


def results(backend, call, seed=11, **options):
    torch.manual_seed(seed)
    output = attention(*call, backend=backend, enable_gqa=True, **options)
    cotangent = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return [output.detach(), *torch.autograd.grad(output, call, cotangent)]


def deviating(backend, call, seed=11, **options):
    """Which of output and gradients are further from the reference in float64 than allowed."""
    wide = [tensor.detach().double().requires_grad_() for tensor in call]
    exact = results("reference", wide, **options)
    rows = zip(results(backend, call, seed, **options), results("reference", call, **options), exact, strict=True)
    limits = (
        (Error.of(value, truth), allowed_error(Error.of(peer, truth), value.dtype, 99)) for value, peer, truth in rows
    )
    return [i for i, (error, limit) in enumerate(limits) if not error.within(limit)]


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"dropout_p": 0.3, "is_causal": True}], ids=str)
@pytest.mark.parametrize("size, value_dim", [(40, 24), (128, 128), (64, 200), (256, 256)])
def test_each_rung_equals_the_reference(rung, dtype, options, size, value_dim):
    assert not deviating(rung, tensors(70, 131, size, value_dim, dtype), **options)


@pytest.mark.parametrize("rung", RUNGS)
def test_other_dropout_is_noticed(rung):
    assert deviating(rung, tensors(20, 30, 16), seed=12, dropout_p=0.3) == [0, 1, 2, 3]


def test_rows_that_are_not_whole_packs_take_the_rung_below():
    call = tensors(70, 131, 20)
    for one, other in zip(results("cuemu", call), results("cuemu_tensor", call), strict=True):
        assert torch.equal(one, other)


def test_the_pipeline_has_tiles_of_its_own():
    """With twice as many keys to a tile, sums round otherwise: the two names lead to two kernels."""
    call = tensors(70, 131, 16)
    assert not torch.equal(results("cuemu", call)[0], results("cuemu_tensor", call)[0])


@pytest.mark.parametrize("rung", RUNGS)
def test_tiles_hidden_by_causality_are_not_read(rung):
    """NaN in keys beyond the last query's tile would reach every row: 0 * NaN is NaN."""
    query, key, value = tensors(64, 192, 32)
    with torch.no_grad():
        key[..., 128:, :] = value[..., 128:, :] = float("nan")
    output, grad_query, _, _ = results(rung, (query, key, value), is_causal=True)
    assert output.isfinite().all() and grad_query.isfinite().all()


@pytest.mark.parametrize("rung", RUNGS)
def test_gradients_have_the_same_bits_in_every_run(rung):
    call = tensors(70, 131, 64)
    for one, other in zip(results(rung, call, dropout_p=0.1), results(rung, call, dropout_p=0.1), strict=True):
        assert torch.equal(one, other)


def test_float32_has_no_tensor_core_rung():
    with pytest.raises(RuntimeError, match="tensor cores"):
        attention(*tensors(3, 4, 8, dtype=torch.float32), enable_gqa=True, backend="cuemu_tensor")
