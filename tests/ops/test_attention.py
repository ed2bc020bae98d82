"""What the matrix can't say of `attention`: dropout, memory, skipped tiles, and rows that see no key."""

import math
import threading
import time

import pytest
import torch
from built import needs_kernels

import nnzoo_fast
from nnzoo_fast import _extension, tables
from nnzoo_fast.ops import attention
from nnzoo_fast.ops.attention import operation
from nnzoo_fast.random import keep_mask
from nnzoo_fast.spec import Error, Maker, allowed_error

pytestmark = needs_kernels


LADDER = ["naive", "online by key", "online by block", "kernel"]


def tensors(*shape, keys=None, value_dim=None, dtype=torch.float32, grad=True):
    *lead, queries, size = shape
    keys = keys or queries
    sizes = ((queries, size), (keys, size), (keys, value_dim or size))
    return tuple(torch.randn(*lead, *last, dtype=dtype, requires_grad=grad) for last in sizes)


def seeded(backend, call, **options):
    """Output and gradients with the dropout seed that follows from torch's."""
    torch.manual_seed(11)
    output = attention(*call, backend=backend, **options)
    cotangent = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return [output, *torch.autograd.grad(output, call, cotangent)]


# Dropout


@pytest.mark.parametrize("name", _extension._C.isas() if _extension._C else [])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize(
    "options", [{"dropout_p": 0.3}, {"dropout_p": 0.3, "is_causal": True}, {"dropout_p": 1.0}], ids=str
)
def test_dropout_equals_the_reference(name, dtype, options, isa):
    isa(name)
    call = tensors(2, 3, 53, 20, keys=131, value_dim=9, dtype=dtype)
    wide = [t.detach().double().requires_grad_() for t in call]
    exact = seeded("reference", wide, **options)
    for value, peer, truth in zip(
        seeded("cpu", call, **options), seeded("reference", call, **options), exact, strict=True
    ):
        assert Error.of(value, truth).within(allowed_error(Error.of(peer, truth), dtype, 53 * 131))


def test_dropout_mask_is_that_of_the_counters():
    """With unit values the output tells which weights were kept; another seed would tell others."""
    query, key, _ = tensors(2, 3, 17, 4, keys=29, grad=False)
    value = torch.eye(29).expand(2, 3, 29, 29)
    torch.manual_seed(5)
    kept = attention(query, key, value, dropout_p=0.4, backend="cpu") != 0
    torch.manual_seed(5)
    seed = nnzoo_fast.random.new_seed()
    assert torch.equal(kept, keep_mask(seed, kept.shape, 0.4))
    assert not torch.equal(kept, keep_mask(seed + 1, kept.shape, 0.4))


def test_dropout_rate_and_mean():
    query, key, value = (torch.zeros(1, 8, 200, 4) for _ in range(3))
    value = torch.eye(200).expand(1, 8, 200, 200)
    weights = attention(query, key, value, dropout_p=0.25, backend="cpu")
    count = weights.numel()
    assert abs((weights == 0).double().mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / count)
    assert abs(weights.double().sum(-1).mean() - 1) < 5 * math.sqrt(0.25 / 0.75 / count)


def test_dropout_needs_no_equal_number_of_threads():
    call = tensors(1, 1, 130, 8)
    with_two = seeded("cpu", call, dropout_p=0.5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with_one = seeded("cpu", call, dropout_p=0.5)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(with_one[0], with_two[0]) and torch.equal(with_one[1], with_two[1])
    torch.testing.assert_close(with_one, with_two)


# The ladder


@pytest.mark.parametrize("step", LADDER)
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"dropout_p": 0.2}, {"enable_gqa": True}], ids=str)
@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_every_step_of_the_ladder_is_right(step, options, mask):
    from nnzoo_fast.ops.attention.spec import SPEC

    assert list(SPEC.variants) == LADDER
    if mask and options.get("is_causal"):
        options = {}
    query, key, value = tensors(2, 4, 9, 5, keys=140, dtype=torch.float64)
    if options.get("enable_gqa"):
        key, value = key[:, :2], value[:, :2]
    if mask:
        chosen = torch.rand(9, 140) < 0.5
        chosen[3] = False
        options = {
            **options,
            "attn_mask": chosen if mask == "bool" else torch.randn(9, 140).masked_fill(~chosen, -torch.inf),
        }
    results = []
    for function in (SPEC.variants[step], attention):
        torch.manual_seed(1)
        results.append(function(query, key, value, **options))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-13)


# Rows that see no key, and keys that no row sees


@pytest.mark.parametrize("backend", ["cpu", "reference", "torch"])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_blind_rows_give_zero_and_no_gradient(backend, kind):
    query, key, value = tensors(1, 2, 60, 8, keys=300)
    visible = torch.rand(60, 300) < 0.5
    visible[[0, 17, 59]] = False
    visible[5, :256] = False  # blind at first, in the running softmax
    visible[:, 140:270] = False
    mask = visible if kind == "bool" else torch.zeros(60, 300).masked_fill(~visible, -torch.inf)
    output = attention(query, key, value, mask, backend=backend)
    grads = torch.autograd.grad(output, (query, key, value), torch.ones_like(output))
    assert not output[:, :, [0, 17, 59]].any() and output[:, :, [5, 16]].all()
    assert not grads[0][:, :, [0, 17, 59]].any()
    assert not grads[1][:, :, 140:270].any() and not grads[2][:, :, 140:270].any()
    assert all(grad.isfinite().all() and grad.any() for grad in grads)


def test_nan_and_infinite_scores_stay_visible():
    query, key, value = tensors(1, 1, 3, 4, keys=200, grad=False)
    query[0, 0, 0, 0] = torch.nan
    key[0, 0, 150] = torch.inf
    output = attention(query, key, value, backend="cpu")
    assert output[0, 0, 0].isnan().all() and not output.isfinite().all()
    assert torch.equal(output.isnan(), attention(query, key, value, backend="reference").isnan())


# Gradients that nobody asks for, and those of a broadcast mask


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
def test_some_gradients_only(wanted):
    call = tensors(2, 2, 50, 12, keys=33, grad=False)
    whole = run_once([t.clone().requires_grad_() for t in call])
    some = [t.clone().requires_grad_(i in wanted) for i, t in enumerate(call)]
    assert all(torch.equal(a, whole[i]) for a, i in zip(run_once(some), wanted, strict=True))


def run_once(call, **options):
    output = attention(*call, backend="cpu", **options)
    return torch.autograd.grad(output, [t for t in call if t.requires_grad], torch.ones_like(output) + output.detach())


@pytest.mark.parametrize(
    "shape", [(2, 3, 60, 70), (1, 3, 60, 70), (2, 1, 60, 70), (60, 70), (3, 1, 70), (1, 1)], ids=str
)
def test_gradient_of_a_broadcast_mask(shape):
    call = [t.detach().double() for t in tensors(2, 3, 60, 8, keys=70)]
    mask = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    found = []
    for backend in ("cpu", "reference"):
        output = attention(*call, mask, backend=backend)
        found += torch.autograd.grad(
            output, mask, torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view_as(output)
        )
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_an_expanded_mask_gets_a_gradient_per_element():
    """A stride of 0 in the mask itself is the caller's, who sums; it isn't a broadcast dimension."""
    call = [t.detach().double() for t in tensors(1, 2, 5, 4, keys=6)]
    row = torch.randn(1, 6, dtype=torch.float64, requires_grad=True)
    found = []
    for backend in ("cpu", "reference"):
        mask = row.expand(5, 6)
        output = attention(*call, mask, backend=backend)
        found.append(torch.autograd.grad(output.square().sum(), mask)[0])
    assert found[0].shape == (5, 6)
    torch.testing.assert_close(*found)


# Work and memory


def lower_triangle(size):
    return torch.ones(size, size, dtype=torch.bool).tril()


def test_causal_tiles_are_skipped():
    """Values that are NaN spread, as 0 * NaN, to every query whose tile meets them, so they show what was computed."""
    query, key, value = tensors(1, 1, 512, 16, grad=False)
    value[:, :, 256:] = torch.nan
    assert attention(query, key, value, is_causal=True, backend="cpu")[:, :, :192].isfinite().all()
    mask = lower_triangle(512)
    mask[:, -1] = True
    assert attention(query, key, value, mask, backend="cpu").isnan().all()


def test_hidden_tiles_are_skipped():
    query, key, value = tensors(1, 1, 512, 16, grad=False)
    value[:, :, 256:] = torch.nan
    assert attention(query, key, value, lower_triangle(512), backend="cpu")[:, :, :192].isfinite().all()
    assert attention(query, key, value, lower_triangle(512).flip(0), backend="cpu").isnan().any()


def resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * 4096


def peak_growth(function):
    """How far the process's memory rises above where it was while `function` runs, in bytes."""
    before, peak, done = resident(), [0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], resident())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        function()
    finally:
        done.set()
        watcher.join()
    return max(peak[0] - before, 0)


def test_no_matrix_of_scores_in_memory():
    """S = 8192: the scores would take 256 MiB. What is seen of the reference shows that the measurement sees them."""
    call = tensors(1, 1, 8192, 8)
    scores = 4 * 8192 * 8192

    def train(backend):
        output = attention(*call, is_causal=True, backend=backend)
        torch.autograd.grad(output.sum(), call)

    assert peak_growth(lambda: train("cpu")) < scores / 16
    with torch.no_grad():
        assert peak_growth(lambda: attention(*call, backend="reference")) > scores / 2


# The choice


def rows(queries, keys, **options):
    call = tensors(2, 4, queries, 16, keys=keys, grad=False)
    return (*call, None, options.get("dropout_p", 0.0), False, None, False, torch.zeros(1, dtype=torch.int64))


def test_without_a_table_stock_runs_where_it_wins(monkeypatch):
    monkeypatch.setattr(tables, "TABLE", None)
    cpu = operation.table[[row.name for row in operation.table].index("cpu")]
    assert cpu.pays(*rows(64, 256))[0]
    for few in (rows(2, 64), rows(16, 16)):
        able, reason = cpu.pays(*few)
        assert not able and reason
    assert cpu.pays(*rows(2, 16, dropout_p=0.1))[0], "stock torch has no such dropout"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_a_float32_mask_with_other_dtypes(dtype):
    call, mask = tensors(1, 2, 40, 8, dtype=dtype, grad=False), torch.randn(40, 40)
    exact = attention(*(t.double() for t in call), mask.double(), backend="reference")
    for backend in ("cpu", "torch", "reference"):
        found = attention(*call, mask, backend=backend)
        assert found.dtype == dtype and Error.of(found, exact).frobenius < 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", ["decode-S300", "few-queries", "few-queries-bool-mask", "L1-S1-E1", "no-keys"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_few_queries_without_gradients(name, dtype, isa):
    """The kernel of decoding, which calls that want gradients don't run on."""
    from nnzoo_fast.ops.attention.spec import SPEC

    sample = next(sample for sample in SPEC.samples if sample.id == name)
    call = sample.make(Maker(dtype, grad=False))
    with nnzoo_fast.backend("reference"):
        exact = call.as_dtype(torch.float64).run(attention)
    allowed = allowed_error(Error.of(call.run(SPEC.stock), exact), dtype, 600)
    for level in _extension._C.isas():
        isa(level)
        with nnzoo_fast.backend("cpu"):
            assert Error.of(call.run(attention), exact).within(allowed)
