"""Where attention looks, told by places: windows, packed sequences, ALiBi, a cache."""

import pytest
import torch
from built import needs_kernels
from test_attention import tensors

from nnzoo_fast import _extension
from nnzoo_fast.ops import attention

pytestmark = needs_kernels


def test_keys_outside_every_window_are_not_touched():
    """NaN times a weight of 0 would be NaN: the blocks that a window hides are not visited."""
    query, key, value = tensors(1, 2, 60, 8, keys=1000)
    with torch.no_grad():
        key[..., 500:, :] = torch.nan
        value[..., 500:, :] = torch.nan
    assert attention(query, key, value, window=(10, 20), backend="cpu").isfinite().all()
    assert attention(query, key, value, window=(None, 20), query_offset=90, backend="cpu").isfinite().all()
    assert attention(query, key, value, window=(10, None), backend="cpu").isnan().any()


@pytest.mark.parametrize("starts", [[0, 7, 7, 50, 64], [0, 64]], ids=str)
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"window": (5, 3)}], ids=str)
def test_packed_sequences_are_calls_of_their_own(starts, options):
    query, key, value = tensors(1, 3, 64, 8)
    packed = attention(
        query, key, value, cu_seqlens_q=torch.tensor(starts, dtype=torch.int32), backend="cpu", **options
    )
    for begin, end in zip(starts, starts[1:], strict=False):
        here = (tensor[..., begin:end, :] for tensor in (query, key, value))
        torch.testing.assert_close(packed[..., begin:end, :], attention(*here, backend="reference", **options))


@pytest.mark.parametrize("starts", [[1, 64], [0, 63], [0, 40, 30, 64]], ids=str)
@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
def test_sequences_must_fill_the_queries(starts, backend):
    with pytest.raises(RuntimeError, match="cu_seqlens_q must rise from 0 to 64"):
        attention(*tensors(1, 2, 64, 8), cu_seqlens_q=torch.tensor(starts), backend=backend)


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (ValueError, {"window": (1.5, None)}),
        (ValueError, {"window": ("a", 1)}),
        (TypeError, {"query_offset": 1.5}),
        (TypeError, {"query_offset": None}),
        (RuntimeError, {"query_offset": 2**63 - 1}),
        (TypeError, {"alibi_slopes": [0.5, 0.25]}),
        (RuntimeError, {"alibi_slopes": torch.ones(2, dtype=torch.int64)}),
        (RuntimeError, {"alibi_slopes": torch.ones(2, dtype=torch.complex64)}),
        (TypeError, {"cu_seqlens_q": [0, 8]}),
    ],
    ids=str,
)
def test_wrong_places_are_named(error, options):
    with pytest.raises(error, match=f"attention: {next(iter(options))}"):
        attention(*tensors(1, 2, 8, 8), **options)


@pytest.mark.parametrize("name", _extension._C.isas() if _extension._C else [])
@pytest.mark.parametrize("queries", [1, 9])
def test_windows_around_far_places_are_exact(name, queries, isa):
    """2^25 and its neighbours are one float32."""
    isa(name)
    call = tensors(1, 1, queries, 8, keys=12, grad=False)
    for offset, window in ((2**25 + 1, (2**25 - 3, None)), (-(2**25) - 1, (None, 2**25 - 3)), (5, (2**63 - 1, 2**62))):
        options = {"query_offset": offset, "window": window}
        found = attention(*call, backend="cpu", **options)
        torch.testing.assert_close(found, attention(*call, backend="reference", **options))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_far_slopes_in_half_precision_on_stock_torch(dtype):
    call = [tensor.to(dtype) for tensor in tensors(1, 2, 5, 8, keys=40, grad=False)]
    options = {"alibi_slopes": torch.tensor([0.5, 0.25]), "query_offset": 1000}
    exact = attention(*(tensor.double() for tensor in call), **options)
    torch.testing.assert_close(attention(*call, backend="torch", **options).double(), exact, rtol=0.03, atol=0.03)


def test_a_step_of_decoding_does_not_depend_on_threads():
    query, key, value = tensors(1, 2, 1, 64, keys=3000)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append(attention(query, key, value, backend="cpu"))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_a_cache_gives_the_rows_of_the_whole():
    query, key, value = tensors(1, 2, 80, 8)
    options = {"window": (30, 0), "alibi_slopes": torch.tensor([0.5, 0.25])}
    whole = attention(query, key, value, backend="cpu", **options)
    for rows in (1, 3, 20):
        last = attention(query[..., -rows:, :], key, value, query_offset=80 - rows, backend="cpu", **options)
        torch.testing.assert_close(last, whole[..., -rows:, :])


def test_autocast_leaves_the_slopes_exact():
    query, key, value = tensors(1, 1, 1, 8, keys=2000)
    query = query * 0
    options = {"alibi_slopes": torch.tensor([1.0078125 / 64]), "query_offset": 2000}
    expected = attention(query, key, value, backend="cpu", **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention(query, key, value, backend="cpu", **options)
    torch.testing.assert_close(found.float(), expected, rtol=0.01, atol=0.01)


def test_places_compile_in_one_graph():
    torch._dynamo.reset()
    query, key, value = tensors(1, 2, 40, 8)
    starts = torch.tensor([0, 13, 40])

    def function(query, key, value):
        return attention(
            query, key, value, window=(9, 0), cu_seqlens_q=starts, alibi_slopes=torch.ones(2), backend="cpu"
        )

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(query, key, value), function(query, key, value))
