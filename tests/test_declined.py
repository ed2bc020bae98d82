"""Declined calls are remembered, by all that the choice depends on, and never change what a call means."""

import sys

import pytest
import torch
from torch._dynamo.testing import CompileCounter

import nnzoo_fast
from nnzoo_fast import _extension, declined, ops
from nnzoo_fast.backends import Backend, wants_gradients
from nnzoo_fast.operation import Operation

asked = []


def supports(x):
    return True, "runs anywhere"


def pays(x):
    asked.append(x.shape)
    return x.shape[0] > 4 and not wants_gradients(x), "only many rows, and no training"


def forward(x, training):
    return (x.detach() * 2,)


def backward(grads, args, outputs, needs):
    return (grads[0] * 2,)


double = Operation(
    "double_for_test_declined",
    "Tensor x",
    ("output",),
    allocate=lambda x, training: (torch.empty_like(x),),
    reference=lambda x: x + x,
    stock=lambda x: x + x,
    table=(Backend("cpu", supports, forward, backward, pays),),
)


@pytest.fixture(autouse=True)
def forgotten():
    double.declined = declined.DeclinedCalls()
    asked.clear()


def asks(call) -> bool:
    before = len(asked)
    call()
    return len(asked) > before


def test_a_declined_call_is_asked_about_once():
    x = torch.ones(2, 3)
    assert asks(lambda: double(x))
    assert not asks(lambda: double(torch.zeros(2, 3)))
    assert torch.equal(double(x), x + x)


@pytest.mark.parametrize(
    "other",
    [
        torch.ones(3, 2),
        torch.ones(2, 3, dtype=torch.float64),
        torch.ones(2, 3, requires_grad=True),
        torch.nn.Parameter(torch.ones(2, 3)),
    ],
    ids=["shape", "dtype", "requires_grad", "Parameter"],
)
def test_another_call_is_asked_about_again(other):
    double(torch.ones(2, 3))
    assert asks(lambda: double(other))


def test_grad_mode_and_autocast_make_another_call():
    x = torch.ones(2, 3, requires_grad=True)
    double(x)
    with torch.no_grad():
        assert asks(lambda: double(x))
    with torch.autocast("cpu"):
        assert asks(lambda: double(x))
    assert not asks(lambda: double(x))


def test_a_call_that_pays_is_not_remembered():
    x = torch.ones(8, 3)
    assert asks(lambda: double(x)) and asks(lambda: double(x))
    assert len(double.declined.keys) == 0


def test_a_request_comes_before_memory():
    x = torch.ones(2, 3)
    double(x)
    with nnzoo_fast.backend("cpu"):
        assert nnzoo_fast.explain(double, x).chosen == "cpu"
        double.table[0].forward(x, False)
        assert torch.equal(double(x), 2 * x)
    assert nnzoo_fast.explain(double, x).chosen == "torch", "explain looks itself"


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(declined.DeclinedCalls, "MOST", 8)
    for columns in range(100):
        double(torch.ones(2, columns))
        assert len(double.declined.keys) <= 8
    assert not asks(lambda: double(torch.ones(2, 99)))


def test_transforms_modes_and_tracers_meet_no_memory_but_stock_torch():
    x = torch.randn(2, 3)
    double(x)
    assert torch.equal(torch.func.vmap(double)(x.expand(5, 2, 3)), (x + x).expand(5, 2, 3))
    assert torch.equal(torch.func.grad(lambda x: double(x).sum())(x), torch.full_like(x, 2))
    assert torch.equal(torch.func.jvp(double, (x,), (x,))[1], x + x)
    assert double(x.to("meta")).is_meta
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    assert double(nested).is_nested
    sparse = x.to_sparse()
    assert torch.equal(double(sparse).to_dense(), x + x)


def test_compiled_code_does_not_look_at_memory():
    counter = CompileCounter()
    compiled = torch.compile(ops.linear, backend=counter, fullgraph=True, dynamic=True)
    for rows in range(20, 26):
        ops.linear(torch.ones(rows + 100, 3), torch.ones(4, 3))
        compiled(torch.ones(rows, 3), torch.ones(4, 3))
    assert counter.frame_count == 1


@pytest.mark.parametrize("padding", [1, (1, 0), [0, 1], "same", "valid"])
@pytest.mark.parametrize("batched", [True, False])
def test_conv_remembers_what_its_caller_wrote(padding, batched):
    x, weight = torch.randn(*((2,) if batched else ()), 3, 9, 8), torch.randn(5, 3, 3, 3)
    expected = torch.nn.functional.conv2d(x, weight, None, 1, padding)
    operation = sys.modules["nnzoo_fast.ops.conv"].operation
    operation.declined = declined.DeclinedCalls()
    torch.testing.assert_close(ops.conv(x, weight, padding=padding), expected)
    assert operation.goes_to_stock((x, weight, None, 1, padding, 1, 1, "none"))
    torch.testing.assert_close(ops.conv(x, weight, padding=padding), expected)


def calls():
    """Calls of which each differs from every other in one thing."""
    x, weight = torch.ones(2, 3, 4), torch.nn.Parameter(torch.ones(4, 3))
    yield ()
    yield from ((None,), (1,), (2.5,), ("none",), ((1, 2),), ([1, 2],), ([1], 2), ([], 1, 2))
    yield from ((x,), ([x],), (x, x), ([x, x],), ([x], x), (x, None), (None, x))
    yield from ((weight,), (weight.detach(),), (x.double(),), (x.to("meta"),), (x.flatten(),), (x[:1],))
    yield from ((x.transpose(0, 1),), (x.transpose(0, 1).contiguous(),), (torch.tensor(1.0),), (torch.ones(2, 12),))


def test_keys_in_c_tell_apart_what_the_python_twin_does():
    made = list(calls())
    described = [declined.describe_call(call) for call in made]
    assert len(set(map(repr, described))) == len(made)
    keys = [_extension._C.call_key(call) for call in made]
    assert len(set(keys)) == len(made)
    assert keys == [_extension._C.call_key(call) for call in made]
    assert _extension._C.call_key((torch.zeros(2, 3, 4),)) == _extension._C.call_key((torch.ones(2, 3, 4),))
    with torch.no_grad():
        assert not {_extension._C.call_key(call) for call in made} & set(keys)


def test_a_key_of_what_has_none():
    endless = []
    endless.append(endless)
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    for call, error in [((endless,), RecursionError), (({},), TypeError), ((nested,), RuntimeError), ([1], TypeError)]:
        with pytest.raises(error):
            _extension._C.call_key(call)


def test_a_list_that_changes_while_it_is_hashed():
    class Emptying:
        def __hash__(self):
            values.clear()
            return 1

    values = [Emptying(), torch.ones(2), 3]
    assert isinstance(_extension._C.call_key((values,)), int)
    assert values == []
