"""What the matrix of samples can't say of `batch_norm`, `group_norm` and `instance_norm`."""

import pytest
import torch
import torch.nn.functional as F
from built import needs_kernels

import nnzoo_fast
from nnzoo_fast import _extension
from nnzoo_fast.machine import last_level_cache
from nnzoo_fast.ops.batch_norm import batch_norm, operation
from nnzoo_fast.ops.group_norm import group_norm
from nnzoo_fast.ops.instance_norm import instance_norm
from nnzoo_fast.spec import Error, allowed_error

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def by_batch(function):
    return lambda x, weight: function(x, None, None, weight, None, True)


PAIRS = {
    "batch": (by_batch(batch_norm), by_batch(F.batch_norm)),
    "group": (lambda x, w: group_norm(x, 3, w), lambda x, w: F.group_norm(x, 3, w)),
    "instance": (lambda x, w: instance_norm(x, None, None, w), lambda x, w: F.instance_norm(x, None, None, w)),
}


def leaves(layout, shift=0.0, size=20):
    torch.manual_seed(0)
    x = (torch.randn(3, 6, size, size) + shift).contiguous(memory_format=layout)
    return x.requires_grad_(), torch.randn(6, requires_grad=True)


def results(function, x, weight):
    output = function(x, weight)
    return [output, *torch.autograd.grad(output, [x, weight], torch.ones_like(output).cumsum(-1))]


@needs_kernels
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_bit_equal_for_any_number_of_threads(name, layout):
    before, found, call = torch.get_num_threads(), [], leaves(layout, size=70)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with nnzoo_fast.backend("cpu"):
                found.append(results(PAIRS[name][0], *call))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


@needs_kernels
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_far_from_0_as_exact_as_stock(name, layout):
    ours, stock = PAIRS[name]
    x, weight = leaves(layout, shift=1000.0)
    truth = results(stock, x.detach().double().requires_grad_(), weight.detach().double().requires_grad_())
    usual = results(stock, x, weight)
    with nnzoo_fast.backend("cpu"):
        found = results(ours, x, weight)
    for mine, theirs, exact in zip(found, usual, truth, strict=True):
        assert Error.of(mine, exact).within(allowed_error(Error.of(theirs, exact), torch.float32, x.numel()))


@needs_kernels
def test_a_channels_last_input_stays_so():
    x, weight = leaves(torch.channels_last)
    with nnzoo_fast.backend("cpu"):
        output, grad, _ = results(PAIRS["batch"][0], x, weight)
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert grad.is_contiguous(memory_format=torch.channels_last)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_running_statistics(dtype):
    """Those of a bfloat16 input may be float32."""
    x = torch.randn(4, 6, 5, 3).to(dtype)
    ours, theirs = ([torch.zeros(6), torch.ones(6)] for _ in range(2))
    for momentum in (0.1, 0.5):
        batch_norm(x, *ours, training=True, momentum=momentum, backend="cpu")
        F.batch_norm(x, *theirs, training=True, momentum=momentum)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("function", [PAIRS["instance"], PAIRS["group"]], ids=["instance", "group"])
def test_channels_last_input_without_a_gradient(function):
    """torch 2.13's own group_norm writes to it, and ends the process."""
    ours, stock = function
    x = torch.randn(7, 6, 17, 8).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(6, requires_grad=True)
    for _ in range(2):  # the second call is known to be declined
        (found,) = torch.autograd.grad(ours(x, weight).square().sum(), weight)
    (expected,) = torch.autograd.grad(stock(x.contiguous(), weight).square().sum(), weight)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("function", [instance_norm, lambda x, *rest: group_norm(x, 3, *rest[2:])])
def test_channels_last_bias_without_a_weight(function):
    """torch 2.13's own group_norm asks the weight for its device."""
    x = torch.randn(7, 6, 17, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    bias = torch.randn(6, requires_grad=True)
    for _ in range(2):
        grads = torch.autograd.grad(function(x, None, None, None, bias).sum(), [x, bias])
    assert Error.of(grads[1], torch.full((6,), 7.0 * 17 * 8)).largest < 1e-6


def test_instance_norm_of_nothing():
    x, weight = torch.zeros(3, 4, 0), torch.ones(4, requires_grad=True)
    (grad,) = torch.autograd.grad(instance_norm(x, None, None, weight).sum(), weight)
    assert grad.equal(torch.zeros(4))


BACKENDS = (None, "cpu", "torch") if _extension._C else (None, "torch")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 0)], ids=str)
def test_nothing_leaves_the_running_statistics(shape, backend):
    mean, variance = torch.full((3,), 2.0), torch.full((3,), 3.0)
    batch_norm(torch.zeros(shape), mean, variance, training=True, backend=backend)
    assert mean.eq(2).all() and variance.eq(3).all()


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("backend", (*BACKENDS, "reference"))
def test_an_infinite_mean(backend, layout):
    """Infinite values of one sign leave it so, of both signs nothing; the variance is NaN, as in torch."""
    x = torch.randn(4, 4, 70, 70).contiguous(memory_format=layout)
    x[1, 0, 60, 3], x[2, 1, 0, 0], x[0, 1, 9, 9] = -torch.inf, torch.inf, -torch.inf
    x[3, 2, 0, 0] = torch.nan
    found, expected = ([torch.zeros(4), torch.ones(4)] for _ in range(2))
    output = batch_norm(x, *found, training=True, backend=backend)
    torch.testing.assert_close(output, F.batch_norm(x, *expected, training=True), equal_nan=True)
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert found[0][0] == -torch.inf and found[0][1:3].isnan().all() and found[0][3].isfinite()


def test_running_statistics_of_another_shape():
    with pytest.raises(RuntimeError, match="running_mean"):
        batch_norm(torch.randn(4, 3, 5), torch.zeros(2, 3), torch.ones(3), training=True)


def test_a_declined_call_is_stock_torch():
    """From the first on, with the statistics in the dtype of the running ones."""
    torch.manual_seed(0)
    x = (torch.randn(170, 3) + 50).bfloat16().requires_grad_()
    running, expected = ([torch.zeros(3), torch.ones(3)] for _ in range(2))
    for _ in range(2):
        output = batch_norm(x, *running, training=True)
        stock = F.batch_norm(x, *expected, training=True)
        assert torch.equal(output, stock)
        grads = [torch.autograd.grad(y, x, x.detach())[0] for y in (output, stock)]
        assert torch.equal(*grads)
    assert all(map(torch.equal, running, expected))


@needs_kernels
def test_gradients_of_the_statistics():
    """The operation's mean and variance are results like any other."""
    x = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, dtype=torch.float64, requires_grad=True)

    def function(x, weight):
        return operation(x, weight, None, None, None, True, 1e-5, backend="cpu")

    assert torch.autograd.gradcheck(function, (x, weight))
    assert torch.autograd.gradgradcheck(function, (x, weight))


@needs_kernels
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_call_larger_than_the_cache_gives_the_same_bits(layout):
    """Its results go past the caches, those of each image alone don't."""
    images = last_level_cache() // 2 // (2 * 4 * 64 * 32 * 32) + 2
    x = torch.randn(images, 64, 32, 32).contiguous(memory_format=layout).requires_grad_()
    grads = torch.randn_like(x)
    output = group_norm(x, 16, backend="cpu")
    (found,) = torch.autograd.grad(output, x, grads)
    for place in (0, images // 2, images - 1):
        one = x.detach()[place : place + 1].contiguous(memory_format=layout).requires_grad_()
        alone = group_norm(one, 16, backend="cpu")
        (grad,) = torch.autograd.grad(alone, one, grads[place : place + 1])
        assert torch.equal(alone, output[place : place + 1]) and torch.equal(grad, found[place : place + 1])


@needs_kernels
@pytest.mark.parametrize("name", PAIRS)
def test_many_rows_of_few_channels(name):
    """Adjacent channels are added up row by row: runs are short enough that outliers at the start swallow little."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, 6, 33, 200), torch.randn(6)
    x.flatten()[:4] = -1e5
    x = x.contiguous(memory_format=torch.channels_last)
    ours, stock = PAIRS[name]
    with nnzoo_fast.backend("cpu"):
        found = ours(x, weight)
    assert Error.of(found, stock(x.double(), weight.double())).largest < 1e-6
