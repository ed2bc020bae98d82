"""The rules of the front door and of the autograd base; each test fails when its rule is broken."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import toy
from built import needs_kernels
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import nnzoo_fast
from nnzoo_fast import backends
from nnzoo_fast import operation as operation_module
from nnzoo_fast.front_door import EAGER, OPS, STOCK, route
from nnzoo_fast.spec import Maker


class Subclass(torch.Tensor):
    """Plain in every way but its type."""


class Watcher(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _forget_calls():
    toy.calls.clear()


def flat(args):
    x, weights, bias = args
    return [x, *weights, bias]


def run(x, *rest):
    return toy.toy(x, list(rest[:-1]), rest[-1])


def test_plain_tensors_and_parameters_go_straight_to_the_kernel():
    assert route([torch.ones(2), torch.nn.Parameter(torch.ones(2)), torch.ones(4)[::2]]) is EAGER
    run(*flat(toy.arguments()))
    assert toy.calls == ["forward"]


@pytest.mark.parametrize(
    "make, expected",
    [
        pytest.param(lambda: torch.ones(2).as_subclass(Subclass), STOCK, id="subclass"),
        pytest.param(lambda: torch._neg_view(torch.ones(2)), STOCK, id="negated"),
        pytest.param(lambda: torch.ones(2).to_sparse(), STOCK, id="sparse"),
        pytest.param(lambda: torch.ones(2, device="meta"), OPS, id="meta"),
        pytest.param(lambda: FakeTensorMode().from_tensor(torch.ones(2)), OPS, id="fake"),
    ],
)
def test_a_tensor_without_plain_memory_never_reaches_a_kernel(make, expected):
    assert route([torch.ones(2), make()]) is expected


def test_modes_transforms_and_tracers_never_reach_a_kernel():
    seen = {}

    def look(name):
        def function(x):
            seen[name] = route([x])
            return x * 1.0

        return function

    x = torch.ones(3, 2)
    with Watcher():
        look("dispatch mode")(x)
    with torch.device("cpu"):
        look("function mode")(x)
    with forward_ad.dual_level():
        look("forward mode")(x)
    torch.func.vmap(look("vmap"))(x)
    torch.func.grad(lambda x: look("grad")(x).sum())(x)
    torch.jit.trace(look("jit"), x, check_trace=False)
    torch.fx.symbolic_trace(look("fx"))
    assert seen == {
        "dispatch mode": OPS,
        "function mode": OPS,
        "forward mode": STOCK,
        "vmap": STOCK,
        "grad": STOCK,
        "jit": STOCK,
        "fx": STOCK,
    }


def test_legacy_batched_gradients_take_the_reference_in_backward():
    args = flat(toy.arguments())
    output = run(*args)
    basis = torch.eye(output.numel(), dtype=output.dtype).view(-1, *output.shape)
    jacobian = torch.autograd.grad(output, args, basis, is_grads_batched=True, retain_graph=True)
    rows = [torch.autograd.grad(output, args, one, retain_graph=True) for one in basis]
    assert toy.calls.count("backward") == len(rows)
    for batched, single in zip(jacobian, zip(*rows, strict=True), strict=True):
        assert_close(batched, torch.stack(single))


@pytest.mark.parametrize("disguise", [lambda g: g.as_subclass(Subclass), torch._neg_view], ids=["subclass", "negated"])
def test_backward_looks_at_the_incoming_gradient(disguise):
    args = flat(toy.arguments())
    gradient = torch.randn(5, 4, dtype=torch.float64)
    found = torch.autograd.grad(run(*args), args, disguise(gradient))
    expected = torch.autograd.grad(run(*args), args, disguise(gradient).as_subclass(torch.Tensor).resolve_neg())
    assert toy.calls == ["forward", "forward", "backward"]
    for one, other in zip(found, expected, strict=True):
        assert_close(one.as_subclass(torch.Tensor), other)


def test_a_mode_that_is_active_in_backward_only_sees_it():
    args = flat(toy.arguments())
    output = run(*args).sum()
    with FlopCounterMode(display=False) as counter:
        output.backward()
    assert "backward" not in toy.calls
    assert counter.get_total_flops() > 0


def test_flops_are_counted_as_for_stock_torch():
    args = flat(toy.arguments(grad=False))
    with FlopCounterMode(display=False) as counter:
        run(*args)
    assert counter.get_total_flops() == 2 * 5 * 3 * 4


def test_every_tensor_of_a_list_gets_its_gradient():
    x, weights, bias = toy.arguments()
    found = torch.autograd.grad(toy.toy(x, weights, bias).sum(), weights)
    expected = torch.autograd.grad(toy.reference(x, weights, bias).sum(), weights)
    assert toy.calls == ["forward", "backward"]
    assert_close(found, expected)


@pytest.mark.parametrize("way", ["eager", "traced"])
def test_autocast_lowers_as_torch_does(way):
    torch._dynamo.reset()
    x = torch.randn(3, 4)
    weight = torch.randn(5, 4)
    ours, stock = nnzoo_fast.ops.linear, torch.nn.functional.linear
    if way == "traced":
        ours = torch.compile(ours, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        for dtype in (torch.float32, torch.bfloat16):
            assert ours(x.to(dtype), weight).dtype == stock(x.to(dtype), weight).dtype == torch.bfloat16


@needs_kernels
def test_only_what_a_gradient_needs_is_saved():
    def saved(needs_input, needs_weight):
        maker, sizes = Maker(), []
        input, weight = maker.normal(8, 16, grad=needs_input), maker.normal(4, 16, grad=needs_weight)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            nnzoo_fast.ops.linear(input, weight, backend="cpu")
        return sorted(sizes)

    assert saved(True, False) == [4 * 16]
    assert saved(False, True) == [8 * 16]
    assert saved(True, True) == [4 * 16, 8 * 16]
    assert saved(False, False) == []


def test_an_input_changed_in_place_before_backward_is_an_error():
    args = flat(toy.arguments())
    output = run(*args).sum()
    with torch.no_grad():
        args[0].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.backward()


def test_little_work_goes_to_stock_torch_and_wrong_calls_are_still_named():
    x, weight = torch.randn(2, 3), torch.randn(4, 3)
    found = nnzoo_fast.explain(nnzoo_fast.ops.linear, x, weight)
    assert found.chosen == "torch" and "float32 few rows forward: " in str(found)
    nnzoo_fast.ops.linear(x, weight)
    with pytest.raises(RuntimeError, match="linear: input .* must end in 3"):
        nnzoo_fast.ops.linear(torch.randn(2, 5), weight)


def test_explicit_requests():
    args = flat(toy.arguments(grad=False))
    with nnzoo_fast.backend("reference"):
        run(*args)
    with nnzoo_fast.backend(toy="torch"):
        run(*args)
    assert toy.calls == []
    with nnzoo_fast.backend("reference"), nnzoo_fast.backend(None):
        run(*args)
    assert toy.calls == ["forward"]
    toy.toy(args[0], args[1:3], args[3], backend="numpy")
    assert toy.calls == ["forward", "forward"]


def test_a_request_that_cannot_be_met_says_why():
    args = [tensor.to(torch.bfloat16) for tensor in flat(toy.arguments(grad=False))]
    with pytest.raises(nnzoo_fast.BackendError, match="toy: backend 'numpy' .* has no numpy kernel"):
        toy.toy(args[0], args[1:3], args[3], backend="numpy")
    with pytest.raises(nnzoo_fast.BackendError, match="no backend 'cuda'; there are numpy, torch, reference"):
        toy.toy(args[0], args[1:3], args[3], backend="cuda")


def test_a_request_for_no_operation_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="backend: there is no operation 'convv'; there are .*conv"):
        with nnzoo_fast.backend(convv="cpu"):
            pass
    backends.check_environment()
    monkeypatch.setattr(backends, "_requested", backends.parse_request("lstmm=torch"))
    with pytest.raises(ValueError, match="NNZOO_BACKEND: there is no operation 'lstmm'"):
        backends.check_environment()


def test_the_environment_variable_names_backends():
    assert backends.parse_request("cpu") == {"": "cpu"}
    assert backends.parse_request("conv=triton, lstm=torch") == {"conv": "triton", "lstm": "torch"}
    assert backends.parse_request("") == {}


def test_explain_names_backend_route_and_reasons():
    args = flat(toy.arguments(grad=False))
    found = nnzoo_fast.explain(run, *args, measure=True)
    assert (found.operation, found.chosen, found.route) == ("toy", "numpy", "eager")
    assert [row.backend for row in found.rows] == ["numpy", "torch", "reference"]
    assert all(row.milliseconds > 0 for row in found.rows)
    assert "numpy" in str(found)
    low = nnzoo_fast.explain(run, *(tensor.half() for tensor in args))
    assert low.chosen == "torch" and "float16" in low.rows[0].reason
    with pytest.raises(ValueError, match="runs no operation"):
        nnzoo_fast.explain(torch.relu, args[0])


def test_explain_leaves_other_threads_alone():
    args = flat(toy.arguments(grad=False))
    finished = []

    def call(*own):
        finished.append(pool.submit(run, *(tensor.half() for tensor in own)))
        finished[0].exception()  # waits
        return run(*own)

    with ThreadPoolExecutor(1) as pool:
        found = nnzoo_fast.explain(call, *args)
    assert finished[0].exception() is None and finished[0].result().dtype == torch.half
    assert found.chosen == "numpy"  # this thread's call, not that in half precision
    assert operation_module._recorder is None


def test_philox_gives_the_published_vectors():
    """Known answers of Random123's `kat_vectors` for philox2x32-10, word 0."""
    from nnzoo_fast.random import philox

    def word(counter, key):
        return philox(torch.tensor(key), torch.tensor(counter)).item()

    assert word(0, 0) == 0xFF1DAE59
    assert word(-1, 0xFFFFFFFF) == 0x2C3F628B
    assert word(0x85A308D3243F6A88 - 2**64, 0x13198A2E) == 0xDD7CE038
