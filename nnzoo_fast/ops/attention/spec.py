"""The calls of `attention` that are checked and timed."""

import functools

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.attention import attention
from nnzoo_fast.ops.attention.ladder import naive, online_by_block, online_by_key
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def shaped(id, lead, queries, keys, head_dim, value_dim=None, kv_heads=None, mask=None, **options):
    """A sample with plain inputs; `mask(maker)` makes its mask."""
    value_dim = value_dim or head_dim
    kv_lead = lead if kv_heads is None else (*lead[:-1], kv_heads)
    if kv_heads is not None:
        options["enable_gqa"] = True

    def make(maker):
        tensors = (
            maker.normal(*lead, queries, head_dim),
            maker.normal(*kv_lead, keys, head_dim),
            maker.normal(*kv_lead, keys, value_dim),
        )
        return Call(tensors, {**options, **({} if mask is None else {"attn_mask": mask(maker)})})

    return Sample(id, make)


def placed(id, lead, queries, keys, head_dim, slopes=None, starts=None, **options):
    """A sample with slopes (their shape) or packed sequences (two lists of where they start)."""
    plain = shaped(id, lead, queries, keys, head_dim, **options)

    def make(maker):
        call = plain.make(maker)
        if slopes is not None:
            call.kwargs["alibi_slopes"] = maker.normal(*slopes, grad=False).abs() / 8
        if starts is not None:
            call.kwargs["cu_seqlens_q"], call.kwargs["cu_seqlens_k"] = map(torch.tensor, starts)
        return call

    return Sample(id, make)


def some_hidden(*shape):
    """A float mask with -inf in places, and one row of nothing else."""

    def mask(maker):
        values = torch.randn(shape, generator=maker.generator, dtype=torch.float64)
        values[values > 0.8] = -torch.inf
        values[..., shape[-2] // 2, :] = -torch.inf
        return maker.wrap(values)

    return mask


def blind_rows(*shape):
    """A bool mask that hides every key from every third query."""

    def mask(maker):
        visible = maker.booleans(*shape, probability=0.6)
        visible[..., ::3, :] = False
        return visible

    return mask


def transposed_views(maker):
    """Heads between length and size, as projections leave them; the three are slices of one tensor."""
    packed = torch.randn(2, 19, 3, 4, 16, generator=maker.generator, dtype=torch.float64)
    query, key, value = (maker.wrap(part.transpose(1, 2)) for part in packed.unbind(2))
    return Call((query, key, value))


def strided_features(maker):
    """Last strides that are not 1, and a mask that is a transposed slice."""
    query, key, value = (
        maker.normal(2, 2, 9, size).detach().transpose(-1, -2).requires_grad_(maker.grad) for size in (13, 21, 21)
    )
    mask = maker.normal(21, 26).detach().t()[::2].requires_grad_(maker.grad)
    return Call((query, key, value, mask))


def scaled_inputs(factor):
    def make(maker):
        return Call((maker.normal(2, 2, 33, 16, scale=factor), maker.normal(2, 2, 47, 16), maker.normal(2, 2, 47, 16)))

    return make


def one_key_each(maker):
    """Every query is some key, lengthened, so a weight is nearly 1 and the scores' gradients nearly cancel; the mask's
    gradient sends stock torch to its most accurate path."""
    key = torch.randn(2, 2, 150, 16, generator=maker.generator, dtype=torch.float64)
    key /= key.norm(dim=-1, keepdim=True)
    mask = maker.normal(33, 150)
    return Call((maker.wrap(60 * key[..., :33, :]), maker.wrap(key), maker.normal(2, 2, 150, 16), mask))


def equal_keys(maker):
    """Ties everywhere: the weights are uniform, and query's gradient is 0 but for rounding, so it isn't compared."""
    key = maker.normal(1, 2, 1, 8, grad=False).expand(1, 2, 50, 8)
    return Call((maker.normal(1, 2, 6, 8, grad=False), key, maker.normal(1, 2, 50, 5)))


def misaligned(maker):
    def tensor(*shape):
        size = torch.Size(shape).numel()
        values = torch.randn(size + 1, generator=maker.generator, dtype=torch.float64).to(maker.device, maker.dtype)
        return values[1:].view(shape).requires_grad_(maker.grad)

    return Call((tensor(2, 3, 17, 8), tensor(2, 3, 29, 8), tensor(2, 3, 29, 8)))


def shared_keys(maker):
    """Keys and values without the batch dimension, and heads that broadcast."""
    return Call((maker.normal(3, 2, 5, 8), maker.normal(1, 7, 8), maker.normal(2, 7, 4)))


SAMPLES = [
    shaped("L5-S7-E3", (2, 3), 5, 7, 3),
    shaped("L1-S1-E1", (1, 1), 1, 1, 1),
    shaped("E1-V2", (1, 2), 3, 5, 1, 2),
    shaped("no-heads", (), 5, 6, 4),
    shaped("one-leading", (3,), 4, 9, 6, mask=lambda m: m.normal(4, 9)),
    shaped("three-leading-causal", (2, 1, 3), 9, 9, 5, is_causal=True),
    shaped("L49-S129-E33-V17", (1, 2), 49, 129, 33, 17),
    shaped("L97-S257-E65", (1, 1), 97, 257, 65),
    shaped("E256-V256", (1, 1), 10, 12, 256),
    shaped("decode-S300", (2, 3), 1, 300, 32),
    shaped("causal-L70-S70", (1, 2), 70, 70, 16, is_causal=True),
    shaped("causal-L150-S40", (1, 1), 150, 40, 8, is_causal=True),
    shaped("causal-L20-S140", (1, 1), 20, 140, 8, is_causal=True),
    shaped("gqa-6-2", (2, 6), 11, 13, 8, 7, kv_heads=2),
    shaped("gqa-4-1-causal", (1, 4), 60, 60, 16, kv_heads=1, is_causal=True),
    shaped("gqa-3d-mask", (4,), 6, 5, 4, kv_heads=2, mask=lambda m: m.normal(4, 1, 5)),
    shaped("bool-mask", (2, 3), 37, 150, 12, mask=lambda m: m.booleans(37, 150)),
    shaped("key-padding", (3, 2), 21, 33, 8, mask=lambda m: m.booleans(3, 1, 1, 33)),
    shaped("blind-rows-bool", (2, 2), 17, 19, 6, mask=blind_rows(2, 1, 17, 19)),
    shaped("all-blind", (1, 2), 4, 5, 3, mask=lambda m: m.booleans(4, 5, probability=0.0)),
    shaped("blind-rows-float", (2, 2), 23, 31, 7, mask=some_hidden(2, 2, 23, 31)),
    shaped("mask-shared-by-heads", (2, 3), 51, 130, 8, mask=some_hidden(2, 1, 51, 130)),
    shaped("mask-per-key", (2, 2), 9, 11, 4, mask=lambda m: m.normal(2, 1, 1, 11)),
    shaped("mask-five-leading", (2, 1, 2), 5, 6, 4, mask=lambda m: m.normal(2, 1, 2, 5, 6)),
    shaped("mask-float32", (1, 2), 5, 6, 4, mask=lambda m: m.normal(5, 6).detach().float()),
    shaped("scale", (1, 2), 5, 6, 4, scale=-0.7),
    shaped("scale-0", (1, 2), 5, 6, 4, scale=0.0),
    shaped("batch-0", (0, 2), 5, 6, 4),
    shaped("no-queries", (2, 2), 0, 6, 4),
    shaped("no-keys", (2, 2), 3, 0, 4),
    shaped("window", (1, 2), 70, 190, 9, window=(30, 15)),
    shaped("window-mask", (2, 2), 53, 53, 8, window=(20, 0), mask=blind_rows(53, 53)),
    shaped("causal-with-cache", (1, 2), 20, 140, 8, is_causal=True, query_offset=120),
    placed(
        "few-queries", (2, 4), 3, 600, 19, (4,), kv_heads=2, window=(560, 1), query_offset=596, mask=some_hidden(3, 600)
    ),
    shaped("few-queries-bool-mask", (2, 1), 2, 70, 40, 65, mask=blind_rows(2, 1, 2, 70)),
    placed("alibi", (2, 3), 33, 147, 8, (2, 1), query_offset=100),
    placed("packed", (2, 2), 120, 90, 8, starts=([0, 0, 13, 83, 120], [0, 5, 20, 60, 90])),
    placed("packed-causal-alibi", (3,), 99, 99, 6, (3,), ([0, 1, 60, 99],) * 2, is_causal=True),
    placed(
        "packed-window", (1, 2), 99, 99, 6, None, ([0, 1, 60, 99],) * 2, window=(40, 0), mask=lambda m: m.normal(99, 99)
    ),
    Sample("transposed-views", transposed_views),
    Sample("strided-features", strided_features),
    Sample("shared-keys", shared_keys),
    Sample("huge-logits", scaled_inputs(300.0)),
    Sample("one-key-each", one_key_each),
    Sample("tiny-logits", scaled_inputs(1e-20)),
    Sample("zeros", scaled_inputs(0.0)),
    Sample("equal-keys", equal_keys),
    Sample("misaligned", misaligned),
]


def packed(normal, *starts):
    return Call((normal(2, 3, 4),) * 3, dict(zip(("cu_seqlens_q", "cu_seqlens_k"), starts, strict=False)))


def wrong(id, exception, message, make):
    return ErrorSample(id, lambda maker: make(maker.normal), exception, message)


ERRORS = [
    wrong("query-1d", RuntimeError, "query", lambda n: Call((n(4), n(5, 4), n(5, 4)))),
    wrong("value-1d", RuntimeError, "value", lambda n: Call((n(3, 4), n(5, 4), n(4)))),
    wrong("key-dtype", RuntimeError, "key", lambda n: Call((n(3, 4), n(5, 4).double(), n(5, 4)))),
    wrong("value-dtype", RuntimeError, "value", lambda n: Call((n(3, 4), n(5, 4), n(5, 4).bfloat16()))),
    wrong("key-size", RuntimeError, "key", lambda n: Call((n(3, 4), n(5, 6), n(5, 4)))),
    wrong("value-length", RuntimeError, "value", lambda n: Call((n(3, 4), n(5, 4), n(6, 4)))),
    wrong("batch-sizes", RuntimeError, "key", lambda n: Call((n(2, 3, 4), n(3, 5, 4), n(3, 5, 4)))),
    wrong("heads-without-gqa", RuntimeError, "key", lambda n: Call((n(1, 4, 3, 4), n(1, 2, 5, 4), n(1, 2, 5, 4)))),
    wrong(
        "gqa-heads",
        RuntimeError,
        "key",
        lambda n: Call((n(1, 5, 3, 4), n(1, 2, 5, 4), n(1, 2, 5, 4)), {"enable_gqa": True}),
    ),
    wrong("gqa-2d", IndexError, "enable_gqa", lambda n: Call((n(3, 4), n(5, 4), n(5, 4)), {"enable_gqa": True})),
    wrong("mask-causal", RuntimeError, "is_causal", lambda n: Call((n(3, 4), n(5, 4), n(5, 4), n(3, 5), 0.0, True))),
    wrong("mask-dtype", RuntimeError, "attn_mask", lambda n: Call((n(3, 4), n(5, 4), n(5, 4), n(3, 5).int()))),
    wrong("mask-double", RuntimeError, "attn_mask", lambda n: Call((n(3, 4), n(5, 4), n(5, 4), n(3, 5).double()))),
    wrong("mask-1d", IndexError, "attn_mask", lambda n: Call((n(3, 4), n(5, 4), n(5, 4), n(5)))),
    wrong("mask-keys", RuntimeError, "attn_mask", lambda n: Call((n(3, 4), n(5, 4), n(5, 4), n(3, 6)))),
    wrong("mask-leading", RuntimeError, "attn_mask", lambda n: Call((n(3, 4), n(5, 4), n(5, 4), n(2, 3, 5)))),
    wrong("window", ValueError, "window", lambda n: Call((n(3, 4), n(5, 4), n(5, 4)), {"window": 3})),
    wrong("window-below-0", ValueError, "window", lambda n: Call((n(3, 4), n(5, 4), n(5, 4)), {"window": (-1, 0)})),
    wrong("slopes", RuntimeError, "alibi_slopes", lambda n: Call((n(2, 3, 4),) * 3, {"alibi_slopes": torch.ones(3)})),
    wrong("learnt-slopes", RuntimeError, "alibi_slopes", lambda n: Call((n(2, 3, 4),) * 3, {"alibi_slopes": n(2)})),
    wrong("starts-dtype", RuntimeError, "cu_seqlens_q", lambda n: packed(n, torch.tensor([0.0, 3.0]))),
    wrong("starts-2d", RuntimeError, "cu_seqlens_q", lambda n: packed(n, torch.tensor([[0, 3]]))),
    wrong(
        "starts-counts",
        RuntimeError,
        "cu_seqlens_k",
        lambda n: packed(n, torch.tensor([0, 3]), torch.tensor([0, 1, 3])),
    ),
    wrong("starts-of-keys", RuntimeError, "cu_seqlens_k", lambda n: packed(n, None, torch.tensor([0, 3]))),
    wrong("dropout-above-1", RuntimeError, "dropout_p", lambda n: Call((n(3, 4), n(5, 4), n(5, 4), None, 1.5))),
    wrong("dropout-below-0", RuntimeError, "dropout_p", lambda n: Call((n(3, 4), n(5, 4), n(5, 4), None, -0.1))),
]


def bench(batch, heads, queries, keys, head_dim, kv_heads=None, mask=None, quick=False, **options):
    kind = "".join(f"-{name}" for name, on in (("causal", options.get("is_causal")), ("mask", mask)) if on)
    kind += f"-dropout{options['dropout_p']}" if "dropout_p" in options else ""
    before, after = options.get("window", (None, 0 if options.get("is_causal") else None))
    kind += f"-window{before}" if before else ""
    groups = f"G{kv_heads}" if kv_heads else ""
    sample = shaped(
        f"B{batch}H{heads}{groups}-L{queries}-S{keys}-E{head_dim}{kind}",
        (batch, heads), queries, keys, head_dim, kv_heads=kv_heads, mask=mask, **options,
    )  # fmt: skip
    rows = batch * heads * queries
    ends = [keys if after is None else min(i + after + 1, keys) for i in range(queries)]
    seen = sum(end - (0 if before is None else max(i - before, 0)) for i, end in enumerate(ends)) / queries
    flops = 4 * rows * seen * head_dim
    values = 2 * rows * head_dim + 2 * batch * (kv_heads or heads) * keys * head_dim
    return BenchCase(sample.id, sample.make, flops, 4 * values, quick)


def stock(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False, *, window=None,
    query_offset=0, alibi_slopes=None, cu_seqlens_q=None, cu_seqlens_k=None
):  # fmt: skip
    """torch's attention, with one mask for all that it has no argument for."""
    if (window, alibi_slopes, cu_seqlens_q) != (None, None, None) or query_offset:
        before, after = window or (None, None)
        after = 0 if is_causal else after
        starts = cu_seqlens_q, cu_seqlens_q if cu_seqlens_k is None else cu_seqlens_k
        rows, columns = (
            [0, t.shape[-2]] if c is None else c.tolist() for t, c in zip((query, key), starts, strict=True)
        )
        attn_mask = torch.zeros((), dtype=query.dtype) if attn_mask is None else attn_mask
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
        hidden = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool)
        far = torch.zeros(hidden.shape, dtype=query.dtype)
        for top, bottom, left, right in zip(rows, rows[1:], columns, columns[1:], strict=False):
            block = torch.ones(bottom - top, right - left)
            block = block if after is None else block.tril(query_offset + after)
            block = block if before is None else block.triu(query_offset - before)
            hidden[top:bottom, left:right] = block == 0
            place = torch.arange(bottom - top)[:, None] + query_offset
            far[top:bottom, left:right] = (place - torch.arange(right - left)).abs()
        if alibi_slopes is not None:
            attn_mask = attn_mask - alibi_slopes[..., None, None].to(query.dtype) * far
        attn_mask, is_causal = attn_mask.masked_fill(hidden, -torch.inf), False
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


SPEC = OpSpec(
    name="attention",
    function=attention,
    stock=stock,
    samples=SAMPLES,
    errors=ERRORS,
    counted=[shaped("B1H2-L128-S128-E64", (1, 2), 128, 128, 64)],
    bench=[
        bench(8, 12, 512, 512, 64, quick=True),
        bench(8, 12, 512, 512, 64, is_causal=True, quick=True),
        bench(4, 4, 128, 128, 32, is_causal=True, quick=True),
        bench(1, 4, 2048, 2048, 128),
        bench(1, 4, 2048, 2048, 128, is_causal=True),
        bench(2, 12, 512, 512, 64, mask=lambda m: m.booleans(512, 512)),
        bench(2, 12, 512, 512, 64, dropout_p=0.1),
        bench(2, 12, 512, 512, 64, kv_heads=3, is_causal=True),
        bench(32, 8, 128, 128, 64, is_causal=True),
        bench(32, 8, 128, 128, 64, mask=lambda m: m.normal(8, 128, 128)),
        bench(16, 12, 1, 512, 64),
        bench(1, 12, 1, 2048, 64),
        bench(8, 12, 1, 2048, 64),
        bench(1, 8, 4096, 4096, 64, window=(256, 0)),
        bench(2, 8, 16, 16, 64),
    ],
    length=lambda call: max(call.args[0].shape[-2:].numel(), call.args[1].shape[-2:].numel(), 1),
    variants={
        "naive": naive,
        "online by key": online_by_key,
        "online by block": online_by_block,
        "kernel": functools.partial(attention, backend="cpu"),
    },
)
