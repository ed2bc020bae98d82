"""What the matrix of samples can't say of `add_norm` and `nn.AddNorm`: dropout, results that nobody used, layers."""

import copy

import pytest
import torch
import torch.nn.functional as F
from built import ISAS, needs_kernels
from torch.autograd import gradcheck, gradgradcheck

import nnzoo_fast
from nnzoo_fast import accelerate, nn, operation
from nnzoo_fast.ops.add_norm import add_norm
from nnzoo_fast.random import keep_mask, new_seed
from nnzoo_fast.spec import Error, allowed_error


def leaves(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(size, generator=generator).to(dtype) for size in (shape, shape, shape[-1:])]
    return [tensor.requires_grad_() for tensor in made]


def results(call, use=(0, 1), backend="cpu", **options):
    """Outputs and gradients, by the dropout seed that follows from torch's."""
    torch.manual_seed(11)
    input, residual, weight = call
    outputs = add_norm(input, residual, input.shape[-1:], weight, backend=backend, **options)
    used = [outputs[place] for place in use]
    cotangents = [torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out) for out in used]
    return [*outputs, *torch.autograd.grad(used, call, cotangents, materialize_grads=True, allow_unused=True)]


@needs_kernels
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("norm, p", [("layer", 0.3), ("rms", 0.3), ("layer", 1.0)])
def test_dropout_equals_the_reference(name, dtype, norm, p, isa):
    isa(name)
    call, options = leaves(41, 37, dtype=dtype), {"dropout_p": p, "norm": norm}
    exact = results([t.detach().double().requires_grad_() for t in call], backend="reference", **options)
    usual, found = (results(call, backend=backend, **options) for backend in ("reference", "cpu"))
    for value, peer, truth in zip(found, usual, exact, strict=True):
        assert Error.of(value, truth).within(allowed_error(Error.of(peer, truth), dtype, 41 * 37))


@needs_kernels
def test_the_mask_is_that_of_the_counters():
    input, residual, _ = leaves(30, 21)
    torch.manual_seed(5)
    _, sum = add_norm(input, torch.zeros_like(residual), (21,), dropout_p=0.4, backend="cpu")
    torch.manual_seed(5)
    seed = new_seed()
    kept = keep_mask(seed, input.shape, 0.4)
    torch.testing.assert_close(sum, torch.where(kept, input / 0.6, 0.0))
    assert not torch.equal(kept, keep_mask(seed + 1, input.shape, 0.4))


@needs_kernels
@pytest.mark.parametrize("rows", [5, 1501])
def test_bit_equal_for_any_number_of_threads(rows):
    call, before, found = leaves(rows, 96), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(results(call, dropout_p=0.2))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


@needs_kernels
@pytest.mark.parametrize("use", [(0,), (1,)], ids=["norm only", "sum only"])
@pytest.mark.parametrize("p", [0.0, 0.4])
def test_a_result_that_nobody_used(use, p):
    call = leaves(9, 14, dtype=torch.float64)
    found, expected = (results(call, use, backend, dropout_p=p) for backend in ("cpu", "reference"))
    torch.testing.assert_close(found, expected)


@needs_kernels
@pytest.mark.parametrize("use", [(0, 1), (0,), (1,)], ids=str)
@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_derivatives_of_the_kernel(norm, use):
    def function(*call):
        torch.manual_seed(3)
        outputs = add_norm(*call[:2], (4,), call[2], dropout_p=0.3, norm=norm, backend="cpu")
        return tuple(outputs[place] for place in use)

    call = leaves(5, 4, dtype=torch.float64)
    assert gradcheck(function, call) and gradgradcheck(function, call)


@needs_kernels
def test_summands_are_not_kept():
    """The sum says all that they would."""
    input, residual, weight = leaves(64, 32)
    output, sum = add_norm(input, residual, (32,), weight, backend="cpu")
    kept = [tensor for tensor in output.grad_fn.saved_tensors if tensor is not None]
    assert any(tensor is sum or tensor.data_ptr() == sum.data_ptr() for tensor in kept)
    assert all(tensor.data_ptr() not in (input.data_ptr(), residual.data_ptr()) for tensor in kept)


@pytest.mark.parametrize("rows", [5, 20000])
def test_seeds_repeat_and_differ(rows):
    layer, x = nn.AddNorm(8, p=0.5), torch.randn(rows, 8)
    torch.manual_seed(0)
    first, second = layer(x, x), layer(x, x)
    torch.manual_seed(0)
    again = layer(x, x)
    assert all(map(torch.equal, first, again)) and not torch.equal(first[1], second[1])


@pytest.mark.parametrize("backend", ["torch", None])
def test_where_stock_torch_runs_so_does_its_generator(backend):
    """From the first call on, and whatever follows."""
    found, expected = [], []
    for draws, call in (
        (found, lambda x: add_norm(x, x, (8,), dropout_p=0.5, backend=backend)[1]),
        (
            expected,
            lambda x: x + F.dropout(x, 0.5),
        ),
    ):
        torch.manual_seed(0)
        draws += [call(torch.ones(3, 8, dtype=torch.float16)) for _ in range(3)] + [torch.rand(2)]
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("norm, stock", [("layer", torch.nn.LayerNorm), ("rms", torch.nn.RMSNorm)])
def test_the_layer_is_torchs_composed(norm, stock):
    theirs, ours = stock((3, 4)), nn.AddNorm((3, 4), p=0.5, norm=norm)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict())
    x, residual = torch.randn(5, 3, 4), torch.randn(5, 3, 4)
    output, sum = ours.eval()(x, residual)
    torch.testing.assert_close((output, sum), (theirs(x + residual), x + residual))
    assert norm in repr(ours)


@pytest.mark.parametrize("options, name", [({"p": 1.5}, "p is 1.5"), ({"norm": "batch"}, "norm is 'batch'")])
def test_the_layer_refuses(options, name):
    with pytest.raises(ValueError, match=name):
        nn.AddNorm(8, **options)


@pytest.fixture
def joined(monkeypatch):
    """How often `add_norm` was reached."""
    names = []
    monkeypatch.setattr(operation, "_recorder", lambda found, values, way: names.append(found.name))
    return lambda: names.count("add_norm")


LAYERS = {
    "encoder": (torch.nn.TransformerEncoderLayer, 1, (2, 1)),
    "decoder": (torch.nn.TransformerDecoderLayer, 2, (3, 2)),
}


@pytest.mark.parametrize("norm_first", [False, True], ids=["norm last", "norm first"])
@pytest.mark.parametrize("kind, count, expected", LAYERS.values(), ids=LAYERS.keys())
def test_layers_of_a_transformer_join_sum_and_norm(kind, count, expected, norm_first, joined):
    stock = kind(8, 2, 12, 0.0, norm_first=norm_first)
    ours = accelerate(copy.deepcopy(stock))
    inputs = [torch.randn(size, 3, 8) for size in (5, 4)][:count]
    torch.testing.assert_close(ours(*inputs), stock(*inputs))
    assert joined() == expected[norm_first]


@pytest.mark.parametrize("watched", ["dropout1", "norm1"])
def test_watched_layers_are_called(watched, joined):
    layer, calls = nn.TransformerEncoderLayer(8, 2, 12), []
    getattr(layer, watched).register_forward_hook(lambda *_: calls.append(watched))
    layer(torch.randn(5, 3, 8))
    assert calls == [watched] and joined() == 1


def test_a_subclass_keeps_its_blocks(joined):
    class Silent(nn.TransformerEncoderLayer):
        def _sa_block(self, x, *masks):
            return torch.zeros_like(x)

    layer, x = Silent(8, 2, 12, 0.0), torch.randn(5, 3, 8)
    torch.testing.assert_close(layer(x), layer.norm2(layer.norm1(x) + layer._ff_block(layer.norm1(x))))
    assert joined() == 0


@needs_kernels
def test_dropout_of_a_transformer_in_training():
    """The expected size of what is kept, and none of it in eval mode."""
    layer, x = nn.TransformerEncoderLayer(8, 2, 12, 0.25, norm_first=True), torch.randn(400, 3, 8)
    layer.linear2.weight.data.zero_()
    layer.linear2.bias.data.zero_()
    with nnzoo_fast.backend("cpu"):
        kept = (layer(x) != x).double().mean()
        assert abs(kept - 0.75) < 0.03
        assert (layer.eval()(x) != x).all()


def test_mixed_dtypes_stay_apart():
    """Under autocast a block gives bfloat16, what goes around it is float32."""
    layer, x = nn.TransformerEncoderLayer(8, 2, 12, 0.0), torch.randn(5, 3, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.float32 and F.mse_loss(found, layer(x)) < 1e-3
