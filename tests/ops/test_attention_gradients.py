"""Gradients of attention, of every order, and through what torch transforms and compiles."""

import pytest
import torch
from built import needs_kernels
from test_attention import tensors
from torch.autograd import gradcheck, gradgradcheck

import nnzoo_fast
from nnzoo_fast.ops import attention
from nnzoo_fast.ops.attention import operation
from nnzoo_fast.spec import Maker, run_with_gradients

pytestmark = needs_kernels
KERNEL_SAMPLES = ["L5-S7-E3", "E1-V2", "gqa-6-2", "gqa-3d-mask", "mask-per-key", "blind-rows-float", "causal-L20-S140"]


@pytest.mark.parametrize("name", KERNEL_SAMPLES)
def test_derivatives_and_repeats_of_the_kernels(name):
    """The suite's own gradcheck runs what is chosen, which is stock torch for samples as small as these."""
    from nnzoo_fast.ops.attention.spec import SPEC

    sample = next(sample for sample in SPEC.samples if sample.id == name)
    call = sample.make(Maker(torch.float64))
    wanted = [tensor for tensor in call.tensors() if tensor.requires_grad]

    def function(*values):
        replace = {id(tensor): value for tensor, value in zip(wanted, values, strict=True)}
        return call.map(lambda tensor: replace.get(id(tensor), tensor)).run(attention)

    with nnzoo_fast.backend("cpu"):
        assert gradcheck(function, wanted, fast_mode=True)
        assert gradgradcheck(function, wanted, fast_mode=True)
        first, again = (run_with_gradients(attention, call) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(sum(first, []), sum(again, []), strict=True))


SMALL = {
    "plain": {},
    "causal": {"is_causal": True},
    "booleans": {"attn_mask": torch.ones(3, 5, dtype=torch.bool).tril(1)},
    "bias": {"attn_mask": torch.linspace(-1, 1, 15, dtype=torch.float64).view(3, 5)},
    "gqa": {"enable_gqa": True},
}


@pytest.mark.parametrize("wanted", [(0, 1, 2), (0,), (1, 2)], ids=str)
@pytest.mark.parametrize("options", SMALL.values(), ids=SMALL.keys())
def test_small_calls_that_stock_torch_runs_have_second_derivatives(options, wanted):
    heads = 1 if "enable_gqa" in options else 2
    shapes = (1, 2, 3, 4), (1, heads, 5, 4), (1, heads, 5, 4)
    values = [torch.randn(shape, dtype=torch.float64).requires_grad_(n in wanted) for n, shape in enumerate(shapes)]

    def function(*some):
        call = list(values)
        for place, value in zip(wanted, some, strict=True):
            call[place] = value
        return attention(*call, **options, backend="torch")

    inputs = [values[place] for place in wanted]
    assert gradcheck(function, inputs, fast_mode=True)
    assert gradgradcheck(function, inputs, fast_mode=True)


def test_torch_itself_has_none():
    """Else the hook may go."""
    query = torch.randn(1, 2, 3, 4, requires_grad=True)
    output = torch.nn.functional.scaled_dot_product_attention(query, query, query)
    (grad,) = torch.autograd.grad(output.sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match="not implemented"):
        grad.sum().backward()


def test_hessians_by_transforms():
    query, key, value = (torch.randn(1, 1, 2, 3, dtype=torch.float64) for _ in range(3))

    def function(query):
        return attention(query, key, value).square().sum()

    expected = torch.autograd.functional.hessian(function, query)
    for hessian in torch.func.hessian(function), torch.func.jacrev(torch.func.jacrev(function)):
        torch.testing.assert_close(hessian(query), expected)
    inner = torch.func.grad(function)(leaf := query.clone().requires_grad_())
    torch.testing.assert_close(torch.autograd.grad(inner.sum(), leaf)[0].flatten(), expected.view(6, 6).sum(0))


def test_options_under_dropout_fall_back_to_the_reference_not_to_torch():
    """fp16 has no kernel on the CPU; its dropout is still that of the counters."""
    query, key, value = (t.half() for t in tensors(1, 1, 4, 4, grad=False))
    torch.manual_seed(2)
    one = attention(query, key, value, dropout_p=0.5)
    torch.manual_seed(2)
    other = attention(query, key, value, dropout_p=0.5, backend="reference")
    assert torch.equal(one, other)


def test_gqa_with_different_heads_of_key_and_value_stays_stock():
    query, key, value = Maker(grad=False).normal(1, 6, 3, 4), torch.randn(1, 3, 5, 4), torch.randn(1, 2, 5, 4)
    assert operation.choose((query, key, value, None, 0.0, False, None, True, None)) is None
    one = attention(query, key, value, enable_gqa=True)
    torch.testing.assert_close(one, attention(query, key, value, enable_gqa=True, backend="reference"))
    with pytest.raises(nnzoo_fast.BackendError, match="heads"):
        attention(query, key, value, enable_gqa=True, backend="cpu")


def test_compiled_with_dynamic_lengths():
    torch._dynamo.reset()
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager", dynamic=True)
    from nnzoo_fast.spec import Call

    for length in (5, 9, 130):
        call = Call(tensors(1, 2, length, 8), {"is_causal": True})
        expected, found = run_with_gradients(attention, call), run_with_gradients(compiled, call)
        torch.testing.assert_close(found, expected)


def test_exported_with_dynamic_batch_and_heads():
    class Attend(torch.nn.Module):
        def forward(self, query, key, value):
            return attention(query, key, value)

    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("heads")}
    exported = torch.export.export(Attend(), tensors(2, 3, 80, 32), dynamic_shapes=(sizes,) * 3).module()
    args = tensors(4, 5, 80, 32)
    torch.testing.assert_close(exported(*args), attention(*args))
