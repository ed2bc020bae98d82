"""`nnzoo_fast.nn.MultiheadAttention` against torch.nn.MultiheadAttention, results and gradients, in float64."""

import itertools

import pytest
import torch

import nnzoo_fast
from nnzoo_fast import nn
from nnzoo_fast.explain import explain

EMBED, HEADS, L, S, N = 12, 3, 5, 7, 2


def pair(**options):
    """The stock layer and ours with the same weights, from the same seed."""
    layers = []
    for cls in (torch.nn.MultiheadAttention, nn.MultiheadAttention):
        torch.manual_seed(3)
        layers.append(cls(EMBED, HEADS, dtype=torch.float64, **options))
    return layers


def inputs(layer, how, batched=True, batch_first=False):
    """query, key, value: "self" attention, one "memory" for key and value, or three tensors."""

    def make(length, size):
        shape = (length, size) if not batched else (N, length, size) if batch_first else (length, N, size)
        return torch.randn(shape, dtype=torch.float64, requires_grad=True)

    query = make(S if how == "self" else L, EMBED)
    if how == "self":
        return query, query, query
    key = make(S, layer.kdim)
    return query, key, key if how == "memory" else make(S, layer.vdim)


def results(layer, tensors, **options):
    """Outputs, then gradients of inputs, float masks and parameters."""
    output, weights = layer(*tensors, **options)
    tensors = [t for t in (*tensors, *options.values()) if isinstance(t, torch.Tensor) and t.requires_grad]
    leaves = [*{id(t): t for t in tensors}.values(), *layer.parameters()]
    total = (output * torch.linspace(-1, 2, output.numel(), dtype=output.dtype).view_as(output)).sum()
    if weights is not None:
        total = total + (weights * weights).sum()
    return [output, weights, *torch.autograd.grad(total, leaves, allow_unused=True)]


def assert_same(layers, tensors, **options):
    for one, other in zip(*(results(layer, tensors, **options) for layer in layers), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-12, equal_nan=True)


def masks(kind, queries, batched):
    """attn_mask and key_padding_mask. No query is blind: torch's own gradient there is NaN or 0, by path."""
    attn, padding = None, None
    if "attn" in kind:
        shape = (queries, S) if "2d" in kind else ((N if batched else 1) * HEADS, queries, S)
        attn = torch.rand(shape) < 0.4
        attn[..., 0] = False
        if "float" in kind:
            attn = torch.randn(shape, dtype=torch.float64).masked_fill(attn, -torch.inf).requires_grad_()
    if "padding" in kind:
        padding = torch.zeros((N, S) if batched else (S,), dtype=torch.bool)
        padding[..., -2:] = True
        if "float" in kind:
            padding = torch.zeros(padding.shape, dtype=torch.float64).masked_fill(padding, -torch.inf)
    return {"attn_mask": attn, "key_padding_mask": padding}


@pytest.mark.parametrize("how", ["self", "memory", "three"])
@pytest.mark.parametrize("batch_first, batched", [(False, True), (True, True), (False, False), (True, False)])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True}], ids=str)
@pytest.mark.parametrize("need_weights", [False, True])
def test_layouts(how, batch_first, batched, options, need_weights):
    layers = pair(batch_first=batch_first, **options)
    assert_same(layers, inputs(layers[0], how, batched, batch_first), need_weights=need_weights)


KINDS = ["attn 2d", "attn 3d", "padding", "attn 2d padding", "attn 3d padding"]
KINDS += [f"{kind} float" for kind in KINDS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extra", [False, True], ids=["plain", "extra-keys"])
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
def test_masks(kind, extra, batched):
    layers = pair(add_bias_kv=extra, add_zero_attn=extra)
    tensors, given = inputs(layers[0], "three", batched), masks(kind, L, batched)
    for need_weights, average in ((False, True), (True, True), (True, False)):
        assert_same(layers, tensors, need_weights=need_weights, average_attn_weights=average, **given)


@pytest.mark.parametrize("sizes", list(itertools.product([None, 9], [None, 4])), ids=str)
def test_sizes_of_key_and_value(sizes):
    layers = pair(kdim=sizes[0], vdim=sizes[1])
    assert_same(layers, inputs(layers[0], "three"), need_weights=False)


@pytest.mark.parametrize("padded", [False, True])
def test_causal_hint(padded):
    layers = pair(batch_first=True)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(S, dtype=torch.float64)
    padding = masks("padding float", S, True)["key_padding_mask"] if padded else None
    tensors = inputs(layers[0], "self", batch_first=True)
    assert_same(layers, tensors, need_weights=False, attn_mask=mask, key_padding_mask=padding, is_causal=True)


def test_blind_queries():
    """0 without weights, NaN with them, as torch."""
    layers = pair(batch_first=True)
    tensors = inputs(layers[0], "three", batch_first=True)
    mask = torch.zeros(L, S, dtype=torch.bool)
    mask[1] = True
    stock, ours = (layer(*tensors, need_weights=True, attn_mask=mask) for layer in layers)
    assert stock[0][:, 1].isnan().all() and ours[0][:, 1].isnan().all() and ours[1][:, 1].isnan().all()
    output, _ = layers[1](*tensors, need_weights=False, attn_mask=mask)
    assert torch.equal(output[:, 1], layers[1].out_proj.bias.expand(N, -1))
    grads = torch.autograd.grad(output.sum(), (*tensors, *layers[1].parameters()))
    assert all(grad.isfinite().all() for grad in grads) and not grads[0][:, 1].any()


def test_same_seed_same_state():
    for options in ({}, {"kdim": 5, "vdim": 6}, {"add_bias_kv": True}, {"bias": False}):
        stock, ours = (layer.state_dict() for layer in pair(**options))
        assert list(stock) == list(ours)
        assert all(torch.equal(stock[name], ours[name]) for name in stock)


def test_stock_attention_does_not_run():
    """Nor is anything of size L x S made; where weights are wanted it is, and the profiler sees it."""
    layer, x = nn.MultiheadAttention(EMBED, HEADS), torch.randn(S, N, EMBED)

    def seen(need_weights):
        with torch.profiler.profile() as profile, nnzoo_fast.backend(attention="cpu"):
            layer(x, x, x, need_weights=need_weights)
        return any(name in event.name for event in profile.events() for name in ("scaled_dot_product", "softmax"))

    assert explain(layer, x, x, x, need_weights=False).operation == "linear"
    assert not seen(need_weights=False)
    assert seen(need_weights=True)


def test_dropout_only_in_training():
    layer = nn.MultiheadAttention(EMBED, HEADS, dropout=0.5)
    x = torch.randn(S, N, EMBED)
    first, second = (layer(x, x, x, need_weights=False)[0] for _ in range(2))
    assert not torch.equal(first, second)
    layer.eval()
    first, second = (layer(x, x, x, need_weights=False)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("batch_first", [False, True])
def test_compiles_in_one_graph(batch_first):
    torch._dynamo.reset()
    layer = nn.MultiheadAttention(EMBED, HEADS, batch_first=batch_first, dtype=torch.float64)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    tensors = inputs(layer, "self", batch_first=batch_first)
    mask = masks("attn 2d", S, True)["attn_mask"]
    expected = results(layer, tensors, need_weights=False, attn_mask=mask)
    found = results(compiled, tensors, need_weights=False, attn_mask=mask)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one)


def test_symbolic_trace():
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(EMBED, HEADS, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    block, x = Block(), torch.randn(N, S, EMBED)
    torch.testing.assert_close(torch.fx.symbolic_trace(block)(x), block(x))


def wrong_calls():
    q, k = torch.randn(L, N, EMBED), torch.randn(S, N, EMBED)
    yield "embed_dim", (torch.randn(L, N, EMBED + 1), k, k), {}
    yield "key_size", (q, torch.randn(S, N, 4), torch.randn(S, N, 4)), {}
    yield "value_length", (q, k, k[:-1]), {}
    yield "batch", (q, k[:, :1], k[:, :1]), {}
    yield "ranks", (q, k[:, 0], k[:, 0]), {}
    yield "mask_2d", (q, k, k), {"attn_mask": torch.zeros(S, L)}
    yield "mask_3d", (q, k, k), {"attn_mask": torch.zeros(N, L, S)}
    yield "mask_dtype", (q, k, k), {"attn_mask": torch.zeros(L, S, dtype=torch.int32)}
    yield "padding", (q, k, k), {"key_padding_mask": torch.zeros(N, L, dtype=torch.bool)}
    yield "causal", (q, k, k), {"is_causal": True}


@pytest.mark.parametrize("name, tensors, options", list(wrong_calls()), ids=lambda x: x if isinstance(x, str) else "")
def test_wrong_calls_raise_as_torch(name, tensors, options):
    ours, stock = nn.MultiheadAttention(EMBED, HEADS), torch.nn.MultiheadAttention(EMBED, HEADS)
    with pytest.raises(Exception) as expected:
        stock(*tensors, need_weights=False, **options)
    with pytest.raises(expected.type):
        ours(*tensors, need_weights=False, **options)
