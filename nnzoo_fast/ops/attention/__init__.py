"""`attention`: softmax(query @ key^T * scale + mask) @ value in one pass over the keys, no L x S matrix."""

import torch

from nnzoo_fast.backends import Backend
from nnzoo_fast.cuda_support import cuda_rows
from nnzoo_fast.front_door import STOCK, check_tensors, is_traceable, route
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.attention import cpu
from nnzoo_fast.ops.attention.checks import check
from nnzoo_fast.ops.attention.in_torch import stock
from nnzoo_fast.ops.attention.layout import allocate, kernels_support
from nnzoo_fast.ops.attention.places import plain_places
from nnzoo_fast.ops.attention.reference import reference
from nnzoo_fast.random import new_seed
from nnzoo_fast.triton_support import triton_row, triton_supports

__all__ = ["attention", "operation", "reference", "scaled_dot_product_attention"]


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    window: tuple[int | None, int | None] | None = None,
    query_offset: int = 0,
    alibi_slopes: torch.Tensor | None = None,
    cu_seqlens_q: torch.Tensor | None = None,
    cu_seqlens_k: torch.Tensor | None = None,
    backend: str | None = None,
) -> torch.Tensor:
    """softmax(query @ key^T * scale + mask) @ value, as `torch.nn.functional.scaled_dot_product_attention`.

    L queries attend to S keys; E and Ev are the sizes of keys and values. A query that sees no key gets 0, and gives no
    gradient. Memory grows with L + S, not with L * S.

    Args:
        query: [*, L, E] or, with heads, [*, H, L, E]. Leading dimensions broadcast. Any strides.
        key: [*, S, E]; with `enable_gqa`, [*, H / n, S, E].
        value: [*, S, Ev]; with `enable_gqa`, [*, H / n, S, Ev].
        attn_mask: broadcastable to [*, L, S]; bool, True where a query sees a key, or a float that is added to the
            scores (float32 or query's dtype).
        dropout_p: the probability to drop a weight. Element i of the weights, in row-major order of [*, L, S], is kept
            or dropped by word i of a Philox stream whose seed comes from torch's default generator.
        is_causal: query i sees keys 0..i. Excludes `attn_mask`.
        scale: 1 / sqrt(E) by default.
        enable_gqa: n consecutive heads of `query` share a head of `key` and `value`.
        window: (before, after): a query sees keys from `before` places before its own to `after` places behind it, None
            being no bound. (None, 0) is causal, and may go with `attn_mask`.
        query_offset: query i stands at the place of key i + query_offset, for `is_causal`, `window` and ALiBi. With a
            cache of earlier keys it is S - L.
        alibi_slopes: [H], broadcastable to the leading dimensions; -slope * |distance| is added to each score (Press et
            al., 2022). It gets no gradient.
        cu_seqlens_q: int32 or int64 [N + 1]: N sequences stand one behind the other along L, the n-th from
            cu_seqlens_q[n] to cu_seqlens_q[n + 1]. A query sees its own sequence's keys, and places count from there.
        cu_seqlens_k: the same for the keys along S; by default `cu_seqlens_q`.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [*, L, Ev], in the dtype of query, key and value.

    Raises:
        TypeError: a `query_offset` that is no integer, slopes or starts that are no tensors.
        RuntimeError: shapes, dtypes, devices or options that don't fit together.
        IndexError: a tensor with fewer dimensions than it needs.
        ValueError: a `window` that is no pair of None or sizes.
        BackendError: `backend` can't run this call.
    """
    seed = None
    if dropout_p > 0 and route([query, key, value]) is not STOCK:
        seed = new_seed(query.device)
    before, after = _bounds(window)
    if not _is_whole(query_offset):
        raise TypeError(f"attention: query_offset must be an int, got {query_offset!r}")
    named = {"alibi_slopes": alibi_slopes, "cu_seqlens_q": cu_seqlens_q, "cu_seqlens_k": cu_seqlens_k}
    check_tensors("attention", **{name: tensor for name, tensor in named.items() if tensor is not None})
    if alibi_slopes is not None:
        if is_traceable(alibi_slopes) and not alibi_slopes.is_floating_point():
            raise RuntimeError(f"attention: alibi_slopes is {alibi_slopes.dtype}, expected floats")
        alibi_slopes = alibi_slopes.double()  # autocast would round them
    if cu_seqlens_k is None:
        cu_seqlens_k = cu_seqlens_q
    elif cu_seqlens_q is None:
        raise RuntimeError("attention: cu_seqlens_k needs cu_seqlens_q")
    places = (before, after, query_offset, alibi_slopes, cu_seqlens_q, cu_seqlens_k)
    common = (query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed)
    return operation(*common, *places, backend=backend)


def _bounds(window) -> tuple[int | None, int | None]:
    if window is None:
        return None, None
    if not isinstance(window, (tuple, list)) or len(window) != 2:
        raise ValueError(f"attention: window must be (before, after), got {window!r}")
    if not all(size is None or _is_whole(size) for size in window):
        raise ValueError(f"attention: window must be (before, after), each None or an int, got {window!r}")
    return tuple(window)


def _is_whole(number: object) -> bool:
    return isinstance(number, int) or hasattr(number, "__index__")  # integers of numpy and of a traced program too


def scaled_dot_product_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """`attention` with the signature of `torch.nn.functional.scaled_dot_product_attention`."""
    return attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def flops(query, key, value, *others):
    rows = 1
    for size in query[:-2]:
        rows *= size
    return 2 * rows * query[-2] * key[-2] * (query[-1] + value[-1])


def triton_supports_call(*args):
    for able, reason in (kernels_support(*args), plain_places(*args[9:])):
        if not able:
            return able, reason
    return triton_supports(args[0])


operation = Operation(
    "attention",
    "Tensor query, Tensor key, Tensor value, Tensor? attn_mask, float dropout_p, bool is_causal, float? scale, "
    "bool enable_gqa, Tensor? seed, int? before, int? after, int query_offset, Tensor? alibi_slopes, "
    "Tensor? cu_seqlens_q, Tensor? cu_seqlens_k",
    ("output", "statistics"),
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(
        Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),
        *cuda_rows("nnzoo_fast.ops.attention.cuda", "naive", "tiled", "tensor", "pipelined"),
        triton_row("nnzoo_fast.ops.attention.triton_kernels", triton_supports_call),
    ),
    check=check,
    autocast="lower",
    flops=flops,
)
