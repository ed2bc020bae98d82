"""What the matrix can't say of `attention` on CUDA, on the emulator: dropout, packs, hidden tiles, range."""

import pytest
import torch

from nnzoo_fast import _extension
from nnzoo_fast.ops import attention
from nnzoo_fast.spec import Error, allowed_error

pytestmark = pytest.mark.skipif(_extension.load("_cuemu") is None, reason="needs the emulator (make build)")
RUNGS = ["cuemu", "cuemu_pipelined", "cuemu_tensor", "cuemu_tiled"]
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


@pytest.mark.parametrize("rung", [*RUNGS, "cuemu_naive"])
@pytest.mark.parametrize(
    "keys, scales",
    [(300, (1e-4, 1e2, 1e-5, 1)), (300, (1e2, 1e-4, 1e-5, 1)), (3, (1e-3, 1e-3, 1e4, 100))],
    ids=["tiny, grad_query", "tiny, grad_key", "huge"],
)
def test_gradients_of_scores_may_leave_the_range_of_float16(rung, keys, scales):
    """They are some 1e-7 or 1e6, where the gradients of query or key fit well."""
    *each, of_grad = scales
    call = [
        (tensor.detach().clamp(-3, 3) * scale).requires_grad_()
        for tensor, scale in zip(tensors(70, keys, 32, dtype=torch.float16), each, strict=True)
    ]
    wide = [tensor.detach().double().requires_grad_() for tensor in call]

    def gradients(backend, call):
        output = attention(*call, backend=backend, enable_gqa=True)
        cotangent = torch.linspace(-of_grad, of_grad, output.numel(), dtype=torch.float16)
        return torch.autograd.grad(output, call, cotangent.to(output.dtype).view_as(output))

    for found, exact in zip(gradients(rung, call), gradients("reference", wide), strict=True):
        error = (found.double() - exact).norm() / exact.norm()
        rounding_to_subnormal = 2.0**-25 * exact.numel() ** 0.5 / exact.norm()
        assert error <= 4 * torch.finfo(torch.float16).eps + rounding_to_subnormal


@pytest.mark.parametrize("rung", RUNGS)
def test_other_dropout_is_noticed(rung):
    assert deviating(rung, tensors(20, 30, 16), seed=12, dropout_p=0.3) == [0, 1, 2, 3]


def test_rows_that_are_not_whole_packs_take_the_rung_below():
    call = tensors(70, 131, 20)
    for one, other in zip(results("cuemu", call), results("cuemu_tensor", call), strict=True):
        assert torch.equal(one, other)


def test_each_rung_has_tiles_of_its_own():
    """With more keys to a tile, sums round otherwise: the names lead to different kernels."""
    call = tensors(70, 131, 16)
    tensor, pipelined, hopper = (results(rung, call)[0] for rung in ("cuemu_tensor", "cuemu_pipelined", "cuemu"))
    assert not torch.equal(tensor, pipelined) and not torch.equal(pipelined, hopper)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}], ids=str)
def test_a_ring_that_turns(options):
    """Several blocks of queries, and more tiles of keys than the ring has stages."""
    assert not deviating("cuemu", tensors(150, 410, 64), **options)


def test_broadcast_heads_need_no_copy():
    """Tensor maps leave out dimensions that don't extend: batches and heads that share their keys."""
    query, key, value = (torch.randn(2, 2, 131, 16).bfloat16() for _ in range(3))
    shared = [tensor[:1, :1].expand(2, 2, 131, 16) for tensor in (key, value)]
    found = attention(query, *shared, backend="cuemu")
    assert torch.equal(found, attention(query, *(tensor.contiguous() for tensor in shared), backend="cuemu"))
    assert not torch.equal(found, attention(query, *shared, backend="cuemu_pipelined"))


def test_what_no_tensor_map_describes_takes_the_rung_below():
    query, key, value = (torch.randn(1, 2, 131, 16).bfloat16() for _ in range(3))
    same_rows = key[..., :1, :].expand(1, 2, 131, 16)
    for call in ((query, same_rows, value), (query[..., :12], key[..., :12], value)):
        assert torch.equal(attention(*call, backend="cuemu"), attention(*call, backend="cuemu_pipelined"))


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
