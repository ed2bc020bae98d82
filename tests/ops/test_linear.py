"""What the matrix can't say of `linear`: every tail of the register tiles, and the functions behind the activations."""

import math

import matrix
import pytest
import torch
from built import ISAS, needs_kernels

from nnzoo_fast import accelerate
from nnzoo_fast.activations import ACTIVATIONS
from nnzoo_fast.ops.linear import cpu, linear
from nnzoo_fast.ops.linear.reference import reference
from nnzoo_fast.spec import Error

pytestmark = needs_kernels
DTYPES = (torch.float32, torch.float64, torch.bfloat16)

# Around the tiles' sizes (rows 4, 6, 8; columns 8, 16, 24, 48; the few-rows path ends at 16) and block ends of K.
ROWS = (1, 2, 5, 7, 8, 9, 15, 16, 17, 31)
COLUMNS = (1, 3, 15, 16, 17, 33, 47, 48, 49, 97)
DEPTHS = (0, 1, 3, 8, 17, 65, 521)


def bound(depth: int, dtype: torch.dtype) -> float:
    """A sum of `depth` products, rounded once more at the end."""
    accumulated = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
    return 2 * math.sqrt(max(depth, 1)) * accumulated + torch.finfo(dtype).eps


def misaligned(values: torch.Tensor) -> torch.Tensor:
    """The same values one element off any vector's alignment."""
    return torch.cat([values.new_zeros(1), values.flatten()])[1:].view(values.shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ISAS)
def test_every_tail(name, dtype, isa, poisoned_memory):
    isa(name)
    for i, rows in enumerate(ROWS):
        for j, columns in enumerate(COLUMNS):
            depth = DEPTHS[(3 * i + j) % len(DEPTHS)]
            input = misaligned(torch.randn(rows, depth).to(dtype))
            weight = misaligned(torch.randn(columns, depth).to(dtype))
            weight = weight.t().contiguous().t() if (i + j) % 2 else weight
            bias = torch.randn(columns).to(dtype)
            residual = misaligned(torch.randn(rows, columns).to(dtype)) if (i + j) % 3 == 0 else None
            (output, _) = cpu.forward(input, weight, bias, "none", residual, False)
            wide = [None if tensor is None else tensor.double() for tensor in (input, weight, bias, residual)]
            error = Error.of(output, reference(*wide[:3], "none", wide[3]))
            assert max(error.frobenius, error.largest) <= bound(depth, dtype), (rows, columns, depth)


@pytest.mark.parametrize("name", ISAS)
def test_threads_change_no_bit(name, isa):
    isa(name)
    before = torch.get_num_threads()
    try:
        for rows, columns, depth in ((5, 70, 300), (130, 101, 1100), (700, 60, 530)):
            args = torch.randn(rows, depth), torch.randn(columns, depth), None, "none", None, False
            results = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                results.append(cpu.forward(*args)[0])
            assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ISAS)
def test_gradients_of_a_narrow_weight_over_many_rows(name, dtype, isa, poisoned_memory, monkeypatch):
    """The sum is cut into parts: of equal and unequal length, of even and odd number of rows."""
    isa(name)
    for rows, columns, depth in ((8192, 7, 5), (12_289, 17, 50), (16_391, 49, 3)):
        input, grad = misaligned(torch.randn(rows, depth).to(dtype)), misaligned(torch.randn(rows, columns).to(dtype))
        args = input, torch.zeros(columns, depth, dtype=dtype), None, "none", None
        results = []
        for threads in (1, 2, 5):
            monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
            results.append(cpu.backward((grad,), args, (None, None), (False, True, False, False))[1])
        assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
        error = Error.of(results[0], grad.double().t() @ input.double())
        assert max(error.frobenius, error.largest) <= bound(rows, dtype), (rows, columns, depth)


STEPS = (1, 1e-3, 1e-8, 30, 100)
SPECIAL = (0.0, -0.0, math.inf, -math.inf, math.nan, 1e-40, 88.5, 89.5, -88.5, -104.5)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "none"])
@pytest.mark.parametrize("name", ISAS)
def test_activations_to_the_last_bits(name, activation, dtype, isa):
    """A product with the 1x1 identity leaves the activation alone: compared value by value."""
    isa(name)
    values = torch.cat([step * torch.randn(4000, dtype=torch.float64) for step in STEPS])
    input = torch.cat([values, torch.tensor(SPECIAL, dtype=torch.float64)]).to(dtype)[:, None]
    one = torch.ones(1, 1, dtype=dtype)
    output = cpu.forward(input, one, None, activation, None, False)[0].double()
    # float64 has no wider oracle in torch; stock torch's own error is below one unit in the last place there.
    expected = torch.nn.functional.__dict__.get(activation, getattr(torch, activation, None))
    if activation == "gelu_tanh":
        oracle = torch.nn.functional.gelu(input.double(), approximate="tanh")
    else:
        oracle = expected(input.double())
    assert torch.equal(output.isnan(), oracle.isnan())
    finite = oracle.isfinite()
    assert torch.equal(output[~finite & ~oracle.isnan()], oracle[~finite & ~oracle.isnan()])
    # In gelu's definition 1 + erf and 1 + tanh cancel for negative arguments: measured against |x| there.
    scale = torch.maximum(oracle.abs(), input.double().abs()) if "gelu" in activation else oracle.abs()
    unit = torch.finfo(dtype).eps * scale[finite] + 128 * torch.finfo(dtype).tiny  # silu(-89) is 0, not 2e-37
    worst = ((output[finite] - oracle[finite]).abs() / unit).max().item()
    assert worst <= 4, f"{worst:.2f} eps"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("target", matrix.targets(), ids=str)
def test_relu_passes_the_gradient_where_it_gave_nan(target, dtype, isa):
    if target.isa:
        isa(target.isa)
    input = torch.tensor([[math.nan], [1], [-1], [0], [math.inf]], dtype=dtype, device=target.device)
    weight = torch.ones(19, 1, dtype=dtype, device=target.device)
    gradients = []
    for activate in (
        lambda bias: linear(input, weight, bias, activation="relu", backend=target.backend),
        lambda bias: torch.nn.functional.linear(input, weight, bias).relu(),
    ):
        bias = torch.zeros(19, dtype=dtype, device=target.device, requires_grad=True)
        gradients += torch.autograd.grad(activate(bias).sum(), bias)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("wanted", [0, 1])
def test_batched_gradients_without_what_the_kernel_does_not_keep(wanted):
    inputs = [torch.randn(20, 30, dtype=torch.float64), torch.randn(4, 30, dtype=torch.float64)]
    inputs[wanted].requires_grad_()
    output = linear(*inputs, backend="cpu")
    basis = torch.randn(3, *output.shape, dtype=torch.float64)
    (batched,) = torch.autograd.grad(output, inputs[wanted], basis, is_grads_batched=True, retain_graph=True)
    single = [torch.autograd.grad(output, inputs[wanted], one, retain_graph=True)[0] for one in basis]
    torch.testing.assert_close(batched, torch.stack(single))


def test_exported_with_dynamic_leading_sizes():
    layer = accelerate(torch.nn.Linear(300, 256))
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    exported = torch.export.export(layer, (torch.randn(3, 40, 300),), dynamic_shapes=(sizes,)).module()
    for shape in ((3, 40, 300), (5, 70, 300)):
        input = torch.randn(shape)
        torch.testing.assert_close(exported(input), layer(input))


@pytest.mark.parametrize(
    "rows, features, activation, training, kind",
    [
        (1000, 64, "none", True, "bfloat16 narrow training"),
        (1000, 256, "none", False, "bfloat16 wide forward"),
        (16, 64, "gelu", False, "bfloat16 few rows activation forward"),
        (1, 256, "none", True, "bfloat16 one row training"),
    ],
)
def test_kinds_that_a_table_tells_apart(rows, features, activation, training, kind):
    input, weight = torch.ones(rows, 256).bfloat16(), torch.ones(features, 256).bfloat16().requires_grad_(training)
    work = 256 * features * (rows if rows > 16 else 1)
    assert cpu.kind_of(input, weight, None, activation, None) == (kind, work)
