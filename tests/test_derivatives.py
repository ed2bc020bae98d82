"""Derivatives of every order, transforms, compiled and exported programs: what the autograd base promises."""

import dataclasses

import pytest
import torch
import toy
from test_front_door import flat, run
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck
from torch.testing import assert_close

import nnzoo_fast
from nnzoo_fast import operation as operation_module


@pytest.fixture(autouse=True)
def _forget_calls():
    toy.calls.clear()


def derivative(function, args, order):
    """A scalar built from `order` derivatives, taken by a different argument each time."""
    value = function(*args).pow(2).sum()
    for step in range(order):
        wanted = args[step % len(args)]
        value = torch.autograd.grad(value, wanted, create_graph=True)[0].pow(2).sum() if wanted.requires_grad else value
    return value


def reference(x, *rest):
    return toy.reference(x, list(rest[:-1]), rest[-1])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("frozen", [None, 0, 1, 3])
def test_orders_two_to_four(order, frozen):
    args = flat(toy.arguments())
    if frozen is not None:
        args[frozen].requires_grad_(False)
    assert_close(derivative(run, args, order), derivative(reference, args, order))


def test_a_detached_reference_would_give_wrong_third_orders(monkeypatch):
    """Negative control of the test above."""
    args = flat(toy.arguments())
    right = derivative(run, args, 3)

    def detaching(tensor, needed):
        return tensor if tensor is None else tensor.detach().requires_grad_(needed)

    monkeypatch.setattr(operation_module, "attach", detaching)
    with pytest.raises((AssertionError, RuntimeError)):
        assert_close(derivative(run, args, 3), right)


def test_gradcheck_in_both_modes():
    args = flat(toy.arguments())
    assert gradcheck(run, args) and gradgradcheck(run, args)
    assert gradcheck(run, args, check_forward_ad=True, check_backward_ad=False)


def test_functional_transforms():
    args = [tensor.detach() for tensor in flat(toy.arguments())]
    batch = args[0].expand(6, 5, 3)
    mapped = torch.func.vmap(run, (0, None, None, None))(batch, *args[1:])
    assert_close(mapped, reference(*args).expand(6, 5, 4))
    hessian = torch.func.hessian(lambda x: run(x, *args[1:]).sum())(args[0])
    assert_close(hessian, torch.func.hessian(lambda x: reference(x, *args[1:]).sum())(args[0]))


def test_opcheck():
    x, weights, bias = toy.arguments()
    opcheck(torch.ops.nnzoo_fast.toy.default, (x, weights, bias, True))
    gradient = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    output = toy.reference(x, weights, bias).detach()
    needs = [True, False, True, True]
    opcheck(torch.ops.nnzoo_fast.toy_bwd.default, ([gradient], x, weights, bias, [output], needs))


def test_fake_and_meta_tensors_get_shapes():
    with FakeTensorMode():
        assert run(torch.empty(5, 3), torch.empty(3, 4), None).shape == (5, 4)
    assert run(torch.empty(5, 3, device="meta"), torch.empty(3, 4, device="meta"), None).shape == (5, 4)
    assert toy.calls == []


def test_compiles_into_one_graph_with_gradients():
    torch._dynamo.reset()
    args = flat(toy.arguments())
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    assert_close(compiled(*args), reference(*args))
    found = torch.autograd.grad(compiled(*args).sum(), args)
    assert_close(found, torch.autograd.grad(reference(*args).sum(), args))
    assert "forward" in toy.calls and "backward" in toy.calls


def test_compiles_with_dynamic_shapes():
    torch._dynamo.reset()
    x, first, second, bias = flat(toy.arguments())
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager", dynamic=True)
    for rows in (5, 4, 3):
        assert_close(compiled(x[:rows], first, second, bias), reference(x[:rows], first, second, bias))


def test_a_request_inside_a_compiled_region_is_heard():
    torch._dynamo.reset()
    args = flat(toy.arguments(grad=False))
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    compiled(*args)
    assert toy.calls == ["forward"]
    with nnzoo_fast.backend("torch"):
        compiled(*args)
    assert toy.calls == ["forward"]


def test_a_traced_call_that_does_not_pay_stays_stock(monkeypatch):
    """Inductor can fuse stock operators, and they are the faster ones here."""
    torch._dynamo.reset()
    args = flat(toy.arguments(grad=False))
    row = dataclasses.replace(toy.toy.table[0], pays=lambda x, weights, bias: (x.shape[0] > 5, "few rows"))
    monkeypatch.setattr(toy.toy, "table", (row,))
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    compiled(*args)
    assert toy.calls == []
    compiled(torch.cat([args[0], args[0]]), *args[1:])
    assert toy.calls == ["forward"]


def test_an_exported_program_takes_sizes_that_its_example_lacks():
    """Whether a kernel pays depends on sizes; asking that while exporting would bake the example's answer in."""
    batch = torch.export.Dim("batch")
    layer = nnzoo_fast.accelerate(torch.nn.Linear(300, 256))
    exported = torch.export.export(layer, (torch.randn(3, 300),), dynamic_shapes=({0: batch},)).module()
    for rows in (2, 40, 300):
        x = torch.randn(rows, 300)
        assert_close(exported(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_double_backward_through_an_exported_program():
    class Program(torch.nn.Module):
        def forward(self, *args):
            return run(*args)

    args = flat(toy.arguments())
    exported = torch.export.export(Program(), tuple(args)).module()
    assert_close(derivative(exported, args, 2), derivative(reference, args, 2))
