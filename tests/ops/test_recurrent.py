"""What the matrix can't say of `gru`, `rnn` and their cells. What they share with `lstm` is tested there."""

import copy
import functools
import itertools
import pickle

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils._pytree import tree_leaves

import nnzoo_fast
from nnzoo_fast import accelerate, nn, ops, restore, tables
from nnzoo_fast.ops.gru.spec import SAMPLES as GRU
from nnzoo_fast.ops.rnn.spec import SAMPLES as RNN
from nnzoo_fast.spec import Call, Maker, all_specs, allowed_for, errors_of, oracle_and_stock, run_with_gradients

KINDS = {"GRU": {}, "RNN": {}, "RNN-relu": {"nonlinearity": "relu"}}
OPTIONS = list(itertools.product((1, 2), (True, False), (False, True), (False, True)))
LENGTHS = (2, 5, 3, 1)


@pytest.fixture(autouse=True)
def kernels():
    """Few steps would go to stock torch."""
    with nnzoo_fast.backend("cpu"):
        yield


def on_the_kernels(name):
    return functools.partial(getattr(ops, name), backend="cpu")


def layers(kind, num_layers, bias, batch_first, bidirectional):
    """Our layer and torch's with the same weights, in float64."""
    options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional, **KINDS[kind]}
    made = []
    for module in (nn, torch.nn):
        torch.manual_seed(3)
        made.append(getattr(module, kind[:3])(4, 6, num_layers, **options, dtype=torch.float64))
    return made


def sequences():
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(length, 4, generator=generator, dtype=torch.float64) for length in LENGTHS]


def input_and_state(kind, layer, given):
    generator = torch.Generator().manual_seed(6)
    if kind == "packed":
        input = pack_sequence([value.requires_grad_() for value in sequences()], enforce_sorted=False)
        input, batch = PackedSequence(input.data.detach().requires_grad_(), *input[1:]), (len(LENGTHS),)
    else:
        shape = (5, 4) if kind == "unbatched" else (5, 3, 4)
        input = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        batch = () if kind == "unbatched" else (5 if layer.batch_first else 3,)
    shape = (layer.num_layers * (2 if layer.bidirectional else 1), *batch, 6)
    hx = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() if given else None
    return input, hx


def results(layer, input, hx):
    """Outputs, and the gradients of the input, the state and every weight."""
    outputs = [leaf for leaf in tree_leaves(layer(input, hx)) if leaf is not None and leaf.is_floating_point()]
    loss = sum((output * torch.linspace(-1, 2, output.numel()).view_as(output)).sum() for output in outputs)
    leaves = [leaf for leaf in tree_leaves((input, hx)) if leaf is not None and leaf.requires_grad]
    return outputs, torch.autograd.grad(loss, leaves + list(layer.parameters()))


def assert_same(found, expected):
    for one, other in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("given", [True, False], ids=["state", "zeros"])
@pytest.mark.parametrize("input", ["padded", "unbatched", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_module_equals_torch(kind, input, given):
    for options in OPTIONS:
        ours, stock = layers(kind, *options)
        call = input_and_state(input, ours, given)
        assert_same(results(ours, *call), results(stock, *call))


@pytest.mark.parametrize("kind", KINDS)
def test_module_equals_torch_can_fail(kind):
    ours, stock = layers(kind, *OPTIONS[0])
    with torch.no_grad():
        ours.bias_hh_l0[5] += 1e-9
    call = input_and_state("padded", ours, True)
    with pytest.raises(AssertionError):
        assert_same(results(ours, *call), results(stock, *call))


@pytest.mark.parametrize("kind", KINDS)
def test_cells_one_after_another_are_the_sequence(kind):
    layer, _ = layers(kind, 1, True, False, False)
    cell = getattr(nn, f"{kind[:3]}Cell")(4, 6, **KINDS[kind], dtype=torch.float64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    input, h = torch.randn(5, 3, 4, dtype=torch.float64), None
    for x in input:
        h = cell(x, h)
    output, h_n = layer(input)
    assert_same([h, h], [h_n[0], output[-1]])
    assert_same(cell(input[0, 0]), cell(input[0])[0])


@pytest.mark.parametrize("kind", KINDS)
def test_accelerate_exchanges_the_classes(kind):
    model = torch.nn.Sequential(getattr(torch.nn, kind[:3])(4, 6, **KINDS[kind]))
    cell = torch.nn.Sequential(getattr(torch.nn, f"{kind[:3]}Cell")(4, 6, **KINDS[kind]))
    input = torch.randn(5, 3, 4)
    for stock, x in ((model, input), (cell, input[0])):
        expected, kinds = stock(x), [type(module) for module in stock]
        accelerate(stock)
        assert type(stock[0]) is getattr(nn, kinds[0].__name__) and not isinstance(stock[0], torch.nn.RNN)
        torch.testing.assert_close(stock(x), expected)
        restore(stock)
        assert [type(module) for module in stock] == kinds


@pytest.mark.parametrize("kind", KINDS)
def test_module_is_a_citizen(kind):
    options = {"dropout": 0.25, "bidirectional": True, **KINDS[kind]}
    layer, stock = (getattr(module, kind[:3])(4, 6, 2, **options) for module in (nn, torch.nn))
    assert repr(layer) == repr(stock)
    stock.load_state_dict(layer.state_dict())
    input = torch.randn(5, 3, 4)
    torch.manual_seed(1)
    assert not torch.equal(layer(input)[0], layer(input)[0])  # dropout
    layer.eval()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(input)[0], layer(input)[0])
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(input), layer(input))
    batched = torch.func.vmap(lambda x: layer(x)[0])(input[None])
    torch.testing.assert_close(batched[0], layer(input)[0])


@pytest.mark.parametrize("kind", ["GRU", "RNN", "LSTM"])
def test_a_cell_has_gradients_per_sample(kind):
    cell = getattr(nn, f"{kind}Cell")(4, 6, dtype=torch.float64)
    weights, input = dict(cell.named_parameters()), torch.randn(3, 2, 4, dtype=torch.float64)

    def loss(weights, input):
        return sum(state.square().sum() for state in tree_leaves(torch.func.functional_call(cell, weights, (input,))))

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, input)
    expected = [torch.func.grad(loss)(weights, one) for one in input]
    torch.testing.assert_close(found, {name: torch.stack([one[name] for one in expected]) for name in weights})


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_gives_the_dtypes_of_torch(kind):
    for name in (kind[:3], f"{kind[:3]}Cell"):
        ours, stock = (getattr(module, name)(4, 6, **KINDS[kind]) for module in (nn, torch.nn))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, expected = (tree_leaves(layer(torch.randn(5, 4))) for layer in (ours, stock))
        assert [out.dtype for out in found] == [out.dtype for out in expected]


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("kind", ["GRU", "RNN", "LSTM"])
def test_cells_in_autocast_under_vmap(kind):
    """torch itself has no LSTM cell there: one row after another is the yardstick."""
    cell, input = getattr(nn, f"{kind}Cell")(4, 6), torch.randn(3, 2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        found = tree_leaves(torch.vmap(cell)(input))
        expected = [tree_leaves(restore(copy.deepcopy(cell))(one)) for one in input]
    for out, every in zip(found, zip(*expected, strict=True), strict=True):
        assert out.dtype == every[0].dtype
        torch.testing.assert_close(out.float(), torch.stack(every).float(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("h_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("c_dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_an_lstm_cell_takes_a_c_of_another_dtype_where_torch_does(h_dtype, c_dtype):
    ours = nn.LSTMCell(4, 6)
    stock = restore(copy.deepcopy(ours))
    call = torch.randn(2, 4), (torch.randn(2, 6, dtype=h_dtype), torch.randn(2, 6, dtype=c_dtype))
    if h_dtype != torch.float32:
        for cell in ours, stock:
            with pytest.raises(RuntimeError):
                cell(*call)
        return
    for found, expected in zip(ours(*call), stock(*call), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("samples", [GRU, RNN], ids=["gru", "rnn"])
def test_any_number_of_threads_gives_the_same_bits(samples):
    """Two directions share the threads in any proportion."""
    call = samples.packed_call(Maker(), (40, 33, 33, 20, 7, 7, 1), 19, 133, 2, True)
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3, 5):
            torch.set_num_threads(count)
            found.append(tree_leaves(run_with_gradients(on_the_kernels(samples.family.name), call)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(*pair) for other in found[1:] for pair in zip(found[0], other, strict=True))


@pytest.mark.parametrize("samples", [GRU, RNN], ids=["gru", "rnn"])
def test_gradients_of_one_tensor_only(samples):
    function = on_the_kernels(samples.family.name)
    call = samples.call_of(Maker(torch.float64), 4, 3, 5, 6, 2, True)
    tensors = [tensor for tensor in call.tensors() if tensor.requires_grad]
    everything = run_with_gradients(function, call)[1]
    for index, tensor in enumerate(tensors):
        for other in tensors:
            other.requires_grad_(other is tensor)
        assert_same(run_with_gradients(function, call)[1], [everything[index]])


@pytest.mark.parametrize("error", [pytest.param(error, id=error.id) for error in GRU.size_errors()])
def test_bad_batch_sizes(error):
    with pytest.raises(error.exception, match=error.message):
        error.make(Maker()).run(on_the_kernels("gru"))


@pytest.mark.parametrize("name", ["gru", "rnn"])
def test_every_step_of_the_ladder_is_right(name):
    spec = all_specs()[name]
    for (rung, variant), sample in itertools.product(spec.variants.items(), spec.samples):
        call = sample.make(Maker(torch.float64))
        found, (oracle, stock) = run_with_gradients(variant, call), oracle_and_stock(spec, call)
        allowances = allowed_for(spec, sample, call, torch.float64, errors_of(stock, oracle))
        for error, allowed in zip(errors_of(found, oracle), allowances, strict=True):
            assert error.within(allowed), f"{rung}, {sample.id}: {error}, allowed {allowed}"


@pytest.mark.parametrize("argument", [16.0, -16.0, 9.0, 1e-4], ids=str)
@pytest.mark.parametrize("name, gates", [("gru", 3), ("rnn", 1)])
def test_derivatives_of_saturated_gates(name, gates, argument):
    """One unit whose gates have this argument: exactly known, so the gradient has no excuse."""
    weights = [torch.ones(gates, 1), torch.zeros(gates, 1)]
    call = Call((torch.full((1, 1, 1), argument, requires_grad=True), torch.full((1, 1, 1), 0.5), weights, False))
    (found,), (exact,) = (
        run_with_gradients(functools.partial(getattr(ops, name), backend=backend), call.as_dtype(dtype))[1]
        for backend, dtype in (("cpu", torch.float32), ("reference", torch.float64))
    )
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


WRONG = {
    "input-1d": ((4,), None),
    "input-4d": ((1, 2, 3, 4), None),
    "features": ((5, 3, 7), None),
    "h-size": ((5, 3, 4), (1, 2, 6)),
    "unbatched-state-for-batch": ((5, 3, 4), (1, 6)),
    "batched-state-for-unbatched": ((5, 4), (1, 3, 6)),
    "no-steps": ((0, 3, 4), None),
}


@pytest.mark.parametrize("kind", ["GRU", "RNN"])
@pytest.mark.parametrize("shape, state", list(WRONG.values()), ids=list(WRONG))
def test_modules_raise_what_torch_raises(shape, state, kind):
    hx, raised = None if state is None else torch.zeros(state), []
    for module in (nn, torch.nn):
        with pytest.raises((RuntimeError, ValueError)) as caught:
            getattr(module, kind)(4, 6)(torch.zeros(shape), hx)
        raised.append(caught.value)
    assert type(raised[0]) is type(raised[1])


@pytest.mark.parametrize("kind, wrong", [("GRU", "proj_size"), ("RNN", "proj_size"), ("RNN", "nonlinearity")])
def test_wrong_options_raise_what_torch_raises(kind, wrong):
    for module in (nn, torch.nn):
        with pytest.raises(ValueError, match=wrong):
            getattr(module, kind)(4, 6, **{wrong: 3})


@pytest.mark.parametrize("kind, least, least_in_training", [("GRU", 12, 4), ("RNN", 20, 8)])
def test_without_a_table_few_steps_stay_with_torch(kind, least, least_in_training, monkeypatch):
    monkeypatch.setattr(tables, "TABLE", None)
    layer = getattr(nn, kind)(4, 6)

    def chosen(layer, input, grad=False):
        with nnzoo_fast.backend(None), torch.set_grad_enabled(grad):
            return nnzoo_fast.explain(layer, input).chosen

    for steps, grad in ((least, False), (least_in_training, True)):
        found = [chosen(layer, torch.randn(count, 3, 4), grad) for count in (steps - 1, steps)]
        assert found == ["torch", "cpu"]
    packed = pack_sequence([torch.randn(length, 4) for length in (least, 2)])
    assert chosen(layer, packed) == "cpu"
    cell = getattr(nn, f"{kind}Cell")(4, 6)
    assert [chosen(cell, torch.randn(rows, 4)) for rows in (63, 64)] == ["torch", "cpu"]
