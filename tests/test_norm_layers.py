"""What PyTorch's samples of the norm layers don't reach: running statistics over several calls, laziness, fx."""

import copy

import pytest
import torch

import nnzoo_fast
from nnzoo_fast import _extension, accelerate, nn, operation

SHAPES = {1: (5, 6, 7), 2: (4, 6, 5, 3), 3: (3, 6, 2, 3, 4)}
OPTIONS = {
    "plain": {},
    "cumulative": {"momentum": None},
    "momentum 0": {"momentum": 0.0},
    "not tracked": {"track_running_stats": False},
    "tracked": {"track_running_stats": True},
    "affine": {"affine": True},
    "not affine": {"affine": False},
    "eps": {"eps": 0.3, "momentum": 0.7},
}
BACKENDS = [None, *(["cpu"] if _extension._C else [])]
KINDS = [(kind, n) for kind in ("BatchNorm", "InstanceNorm") for n in SHAPES]


def pair(kind, n, **options):
    torch.manual_seed(0)
    stock = getattr(torch.nn, f"{kind}{n}d")(6, **options)
    for parameter in stock.parameters():
        torch.nn.init.normal_(parameter)
    ours = accelerate(copy.deepcopy(stock))
    assert type(ours) is getattr(nn, f"{kind}{n}d")
    return stock, ours


def batches(n, count=3):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(SHAPES[n], generator=generator) * 2 + 3 for _ in range(count)]


def step(layer, x):
    x = x.clone().requires_grad_()
    output = layer(x)
    return [output, *torch.autograd.grad(output.square().sum(), [x, *layer.parameters()])]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("kind, n", KINDS)
def test_training_then_eval(kind, n, options, backend):
    """Results, gradients and every buffer are those of the stock layer after each step."""
    stock, ours = pair(kind, n, **options)
    for training in (True, False, True):
        stock.train(training), ours.train(training)
        for x in batches(n):
            with nnzoo_fast.backend(backend):
                found = step(ours, x)
            torch.testing.assert_close(found, step(stock, x), rtol=1e-4, atol=1e-4)
            state, expected = ours.state_dict(), stock.state_dict()
            assert list(state) == list(expected)
            torch.testing.assert_close(state, expected)


def test_a_step_that_is_not_counted_is_noticed():
    stock, ours = pair("BatchNorm", 2, momentum=None)
    for x in batches(2):
        step(stock, x), step(ours, x)
    ours.num_batches_tracked.sub_(1)
    step(stock, batches(2)[0]), step(ours, batches(2)[0])
    with pytest.raises(AssertionError):
        torch.testing.assert_close(ours.state_dict()["running_mean"], stock.state_dict()["running_mean"])


@pytest.mark.parametrize("kind, n", KINDS)
def test_wrong_dimensions(kind, n):
    stock, ours = pair(kind, n)
    x = torch.randn(2, 6, *[3] * (n + 1))
    for layer in (stock, ours):
        with pytest.raises(ValueError, match="input"):
            layer(x)


@pytest.mark.parametrize("eps", [0.0, -1.0])
def test_eps_in_training(eps):
    for layer in pair("BatchNorm", 2, eps=eps):
        with pytest.raises(ValueError, match="positive"):
            layer(torch.randn(3, 6, 4, 4))


def test_one_tracked_channels_last_image():
    """As a batch of its channels it is made contiguous: torch's batch norm misreads the strides of its view."""
    stock, ours = pair("InstanceNorm", 2, affine=True, track_running_stats=True)
    x = batches(2)[0][:1].contiguous(memory_format=torch.channels_last).requires_grad_()
    grad = torch.randn(x.shape)
    found, expected = (
        torch.autograd.grad(layer(x), [x, *layer.parameters()], grad.contiguous()) for layer in (ours, stock)
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["BatchNorm2d", "InstanceNorm2d"])
def test_lazy_layers_become_ours(kind):
    layer = accelerate(getattr(torch.nn, f"Lazy{kind}")())
    layer(torch.randn(2, 3, 4, 5))
    assert type(layer) is getattr(nn, kind) and layer.num_features == 3


def test_sync_batch_norm_stays_torchs():
    layer = accelerate(torch.nn.SyncBatchNorm(4))
    assert type(layer) is torch.nn.SyncBatchNorm
    converted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(accelerate(torch.nn.BatchNorm2d(4)))
    assert type(converted) is torch.nn.SyncBatchNorm


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind, n", KINDS)
def test_fx_records_one_node_a_layer(kind, n, training):
    """So that the count of batches goes up in each call, not once while the program is traced."""
    stock, ours = pair(kind, n, momentum=0.5)
    model = torch.nn.Sequential(ours).train(training)
    traced = torch.fx.symbolic_trace(model)
    stock.train(training)
    for x in batches(n):
        torch.testing.assert_close(traced(x), stock(x))
    torch.testing.assert_close(ours.state_dict(), stock.state_dict())


def test_the_layers_reach_our_operations(monkeypatch):
    names = []
    monkeypatch.setattr(operation, "_recorder", lambda found, values, way: names.append(found.name))
    for kind, tracked in (("BatchNorm", True), ("InstanceNorm", False), ("InstanceNorm", True)):
        pair(kind, 2, track_running_stats=tracked)[1](batches(2)[0])
    assert names == ["batch_norm", "group_norm", "batch_norm"]
