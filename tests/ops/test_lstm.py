"""What the matrix can't say of `lstm`: modules, PackedSequence, higher orders, dropout, threads, the ladder."""

import copy
import functools
import itertools
import pickle

import matrix
import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence, pad_sequence
from torch.utils._pytree import tree_leaves

import nnzoo_fast
from nnzoo_fast import _compat, _extension, nn, ops, tables
from nnzoo_fast.ops.lstm.spec import SIZE_ERRORS, SPEC, call_of, packed_call
from nnzoo_fast.random import keep_mask
from nnzoo_fast.spec import Call, Maker, allowed_for, errors_of, oracle_and_stock, run_with_gradients

OPTIONS = list(itertools.product((1, 2), (True, False), (False, True), (False, True), (0, 3)))
LENGTHS = (2, 5, 3, 1)
ON_THE_CPU = sorted({target.backend for target in matrix.targets() if target.device == "cpu"})


def on_the_kernels(*args, **kwargs):
    return ops.lstm(*args, **kwargs, backend="cpu")


def layers(num_layers, bias, batch_first, bidirectional, proj_size, **more):
    """Our LSTM and torch's with the same weights, in float64."""
    options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional, "proj_size": proj_size}
    made = []
    for cls in (nn.LSTM, torch.nn.LSTM):
        torch.manual_seed(3)
        made.append(cls(4, 6, num_layers, **options, **more, dtype=torch.float64))
    return made


def sequences(dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(length, 4, generator=generator, dtype=dtype) for length in LENGTHS]


def state(layer, batch):
    generator = torch.Generator().manual_seed(6)
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    shapes = [(count, batch, width) for width in (layer.proj_size or layer.hidden_size, layer.hidden_size)]
    dtype = layer.weight_ih_l0.dtype
    return tuple(torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes)


def present(tree):
    """The tensors of a tree: a PackedSequence may hold None."""
    return [leaf for leaf in tree_leaves(tree) if leaf is not None]


def results(layer, input, hx):
    """Outputs, and the gradients of the input, the state and every weight."""
    outputs = present(layer(input, hx))
    floating = [output for output in outputs if output.is_floating_point()]
    loss = sum((output * torch.linspace(-1, 2, output.numel()).view_as(output)).sum() for output in floating)
    leaves = [leaf for leaf in present((input, hx)) if leaf.requires_grad] + list(layer.parameters())
    return outputs, torch.autograd.grad(loss, leaves)


def assert_same(found, expected):
    for one, other in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)


def inputs_of(kind, layer):
    """An input of this kind and the number of its sequences."""
    if kind.startswith("packed"):
        values = sorted(sequences(), key=len, reverse=True) if kind == "packed-sorted" else sequences()
        packed = pack_sequence([value.requires_grad_() for value in values], enforce_sorted=kind == "packed-sorted")
        return PackedSequence(packed.data.detach().requires_grad_(), *packed[1:]), len(LENGTHS)
    shape = (5, 4) if kind == "unbatched" else (5, 3, 4)
    generator = torch.Generator().manual_seed(8)
    input = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    return input, 5 if layer.batch_first else 3


@pytest.mark.parametrize("given", [True, False], ids=["state", "zeros"])
@pytest.mark.parametrize("kind", ["padded", "unbatched", "packed", "packed-sorted"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_module_equals_torch(options, kind, given):
    ours, stock = layers(*options)
    input, batch = inputs_of(kind, ours)
    hx = state(ours, batch) if given else None
    if given and kind == "unbatched":
        hx = tuple(part[:, 0].detach().requires_grad_() for part in hx)
    assert_same(results(ours, input, hx), results(stock, input, hx))


def test_module_equals_torch_can_fail():
    ours, stock = layers(*OPTIONS[0])
    with torch.no_grad():
        ours.bias_hh_l0[7] += 1e-9
    input, _ = inputs_of("padded", ours)
    with pytest.raises(AssertionError):
        assert_same(results(ours, input, None), results(stock, input, None))


def test_strides_of_the_output_are_those_of_torch():
    ours, stock = layers(2, True, True, True, 0)
    input, _ = inputs_of("padded", ours)
    assert ours(input)[0].stride() == stock(input)[0].stride()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_equals_each_sequence_alone(bidirectional):
    layer, _ = layers(2, True, False, bidirectional, 0)
    output, (h_n, c_n) = layer(pack_sequence(sequences(), enforce_sorted=False))
    padded, lengths = pad_packed_sequence(output)
    assert lengths.tolist() == list(LENGTHS)
    for index, value in enumerate(sequences()):
        found = padded[: len(value), index], (h_n[:, index], c_n[:, index])
        assert_same(found, layer(value))


def test_padding_is_never_read():
    layer, _ = layers(1, True, False, True, 0)
    padded = pad_sequence(sequences())
    poisoned = torch.where(padded == 0, torch.nan, padded)
    clean, dirty = (layer(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))[0].data for x in (padded, poisoned))
    assert torch.equal(clean, dirty) and not torch.isnan(dirty).any()


@pytest.mark.parametrize("given", [True, False], ids=["state", "zeros"])
@pytest.mark.parametrize("kind", ["packed", "packed-sorted"])
def test_packed_sequence_through_a_compiled_region(kind, given):
    layer, _ = layers(2, True, False, True, 0)

    def program(sequence, hx):
        output, (h, c) = layer(PackedSequence(sequence.data * 2, *sequence[1:]), hx)
        return PackedSequence(output.data + 1, *output[1:]), h + 1, c

    input, batch = inputs_of(kind, layer)
    hx = state(layer, batch) if given else None
    torch._dynamo.reset()
    compiled = torch.compile(program, fullgraph=True, backend="aot_eager")
    assert isinstance(compiled(input, hx)[0], PackedSequence)

    def all_of(function):
        outputs = [out for out in present(function(input, hx)) if out.is_floating_point()]
        leaves = [input.data, *(hx or ()), *layer.parameters()]
        return outputs, torch.autograd.grad(sum(out.sum() for out in outputs), leaves)

    assert_same(all_of(compiled), all_of(program))


def test_compiles_once_for_changing_lengths():
    layer, _ = layers(1, True, False, False, 0)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    for steps, batch in ((3, 2), (5, 7), (11, 4)):
        input = torch.randn(steps, batch, 4, dtype=torch.float64)
        assert_same(compiled(input), layer(input))


@pytest.mark.parametrize("frozen", [None, "input", "weights"])
@pytest.mark.parametrize("order", [2, 3])
def test_higher_orders(order, frozen):
    """The gradient of a function of gradients, against torch's own operators."""
    input, hx, weights = call_of(Maker(torch.float64), 2, 2, 2, 3).args[:3]
    input.requires_grad_(frozen != "input")
    for weight in weights:
        weight.requires_grad_(frozen != "weights")
    leaves = [t for t in (input, *hx, *weights) if t.requires_grad]

    def derivative(backend):
        value = sum((out**2).sum() for out in ops.lstm(input, hx, weights, backend=backend))
        for _ in range(order - 1):
            grads = torch.autograd.grad(value, leaves, create_graph=True)
            value = sum((grad * torch.linspace(-1, 1, grad.numel()).view_as(grad)).sum() for grad in grads)
        return torch.autograd.grad(value, leaves)

    assert_same(derivative("cpu"), derivative("torch"))


def test_dropout_repeats_with_the_seed_and_only_with_it():
    layer = nn.LSTM(4, 6, 3, dropout=0.5)
    input = torch.randn(5, 3, 4)

    def output(seed):
        torch.manual_seed(seed)
        return layer(input)[0]

    assert torch.equal(output(1), output(1))
    assert not torch.equal(output(1), output(2))
    layer.eval()
    assert torch.equal(output(1), output(2))


@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
@pytest.mark.parametrize("probability", [0.1, 0.6])
def test_dropout_keeps_the_right_share(probability, backend):
    """A second layer with zero weights: the gradient of its w_ih shows what it was given."""
    hidden, batch, seed = 32, 400, torch.tensor([7])
    zeros = functools.partial(torch.zeros, 4 * hidden, hidden, dtype=torch.float64)
    first = [torch.full((4 * hidden, 1), 0.5, dtype=torch.float64), zeros()]
    second = [zeros(requires_grad=True), zeros()]
    input = torch.ones(1, batch, 1, dtype=torch.float64)
    plain = ops.lstm(input, None, first, False)[0][0]
    output = ops.lstm(input, None, [*first, *second], False, 2, probability, True, seed=seed, backend=backend)[0]
    # With all gates at sigmoid(0) and tanh(0), h changes with g's pre-activation by i * o = 1/4.
    (grad,) = torch.autograd.grad(output[..., 0].sum(), second[:1])
    kept = keep_mask(seed, (1, 1, batch, hidden), probability)[0, 0]
    torch.testing.assert_close(grad[2 * hidden], (kept * plain).sum(0) / (1 - probability) / 4)
    share, spread = kept.double().mean().item(), (probability * (1 - probability) / kept.numel()) ** 0.5
    assert abs(share - (1 - probability)) < 5 * spread
    assert abs(share - (0.95 - probability)) > 5 * spread  # a probability that is off by 0.05 would be seen


@pytest.mark.parametrize("error", [pytest.param(error, id=error.id) for error in SIZE_ERRORS])
def test_bad_batch_sizes(error):
    with pytest.raises(error.exception, match=error.message):
        error.make(Maker()).run(on_the_kernels)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_any_number_of_threads_gives_the_same_bits(threads):
    call = packed_call(Maker(), (40, 33, 33, 20, 7, 7, 1), 19, 133, 2, True, 40)
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            found.append(run_with_gradients(on_the_kernels, call))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(*pair) for pair in zip(*map(tree_leaves, found), strict=True))


@pytest.mark.parametrize("name", list(SPEC.variants))
def test_every_step_of_the_ladder_is_right(name):
    for sample in SPEC.samples:
        call = sample.make(Maker(torch.float64))
        found, (oracle, stock) = run_with_gradients(SPEC.variants[name], call), oracle_and_stock(SPEC, call)
        allowances = allowed_for(SPEC, sample, call, torch.float64, errors_of(stock, oracle))
        for error, allowed in zip(errors_of(found, oracle), allowances, strict=True):
            assert error.within(allowed), f"{sample.id}: {error}, allowed {allowed}"


@pytest.mark.parametrize("backend", ON_THE_CPU)
@pytest.mark.parametrize("step", [16.0, -16.0, 9.0, 1e-4], ids=str)
def test_derivatives_of_saturated_gates(step, backend):
    """One unit whose gates have the arguments `step`: exactly known, so the gradient has no excuse. With s (1 - s) in
    float32 it would be off by a sixth where s is sigmoid(16)."""
    weights = [torch.ones(4, 1), torch.zeros(4, 1)]
    c0 = torch.full((1, 1, 1), 0.5)
    call = Call((torch.full((1, 1, 1), step, requires_grad=True), (torch.zeros(1, 1, 1), c0), weights, False))
    (found,), (exact,) = (
        run_with_gradients(functools.partial(ops.lstm, backend=name), call.as_dtype(dtype))[1]
        for name, dtype in ((backend, torch.float32), ("reference", torch.float64))
    )
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


def test_gradients_of_one_tensor_only():
    call = call_of(Maker(torch.float64), 4, 3, 5, 6, 2, True, projection=4)
    tensors = [tensor for tensor in call.tensors() if tensor.requires_grad]
    everything = run_with_gradients(on_the_kernels, call)[1]
    for index, tensor in enumerate(tensors):
        for other in tensors:
            other.requires_grad_(other is tensor)
        assert_same(run_with_gradients(on_the_kernels, call)[1], [everything[index]])


def test_bias_gradients_share_no_memory():
    layer = nn.LSTM(4, 6)
    layer(torch.randn(5, 3, 4))[0].sum().backward()
    assert layer.bias_ih_l0.grad.data_ptr() != layer.bias_hh_l0.grad.data_ptr()
    assert torch.equal(layer.bias_ih_l0.grad, layer.bias_hh_l0.grad)


@pytest.mark.parametrize("name, options", [("LSTM", {}), ("LSTM", {"proj_size": 3}), ("LSTMCell", {})])
def test_autocast_gives_the_dtypes_of_torch(name, options):
    ours, stock = (getattr(module, name)(4, 6, **options) for module in (nn, torch.nn))
    input = torch.randn(5, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = (tree_leaves(layer(input)) for layer in (ours, stock))
    assert [out.dtype for out in found] == [out.dtype for out in expected]


def test_functorch_transforms():
    layer, _ = layers(2, True, False, True, 0)
    input = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    batched = torch.func.vmap(lambda x: layer(x)[0])(input)
    assert_same(batched, torch.stack([layer(x)[0] for x in input]))
    tangent = torch.randn_like(input[0])
    _, found = torch.func.jvp(lambda x: layer(x)[0], (input[0],), (tangent,))
    shift = 1e-6 * tangent
    expected = (layer(input[0] + shift)[0] - layer(input[0] - shift)[0]) / 2e-6
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_functional_call_uses_the_weights_it_is_given():
    layer = nn.LSTM(4, 6)
    other = {name: torch.randn_like(value) for name, value in layer.named_parameters()}
    input = torch.randn(5, 3, 4)
    found = torch.func.functional_call(layer, other, (input,))[0]
    layer.load_state_dict(other)
    torch.testing.assert_close(found, layer(input)[0])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_fx_records_fresh_dropout(dropout):
    """A seed drawn while tracing would be a constant of the program."""

    class Program(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = torch.nn.ParameterList(torch.nn.LSTM(4, 6, 2).parameters())

        def forward(self, input):
            return ops.lstm(input, None, list(self.weights), True, 2, dropout, True)

    traced = torch.fx.symbolic_trace(Program())
    input = torch.randn(5, 3, 4)
    assert (dropout == 0) == torch.equal(traced(input)[0], traced(input)[0])


def test_module_is_a_citizen():
    options = {"dropout": 0.25, "bidirectional": True, "proj_size": 3}
    layer, stock = nn.LSTM(4, 6, 2, **options), torch.nn.LSTM(4, 6, 2, **options)
    assert repr(layer) == repr(stock)
    stock.load_state_dict(layer.state_dict())
    input = torch.randn(5, 3, 4)
    layer.eval()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(input)[0], layer(input)[0])
    assert layer.double()(input.double())[0].dtype == torch.float64


WRONG = {
    "input-1d": ((4,), None),
    "input-4d": ((1, 2, 3, 4), None),
    "features": ((5, 3, 7), None),
    "h-size": ((5, 3, 4), ((1, 2, 6), (1, 3, 6))),
    "c-size": ((5, 3, 4), ((1, 3, 6), (1, 3, 5))),
    "unbatched-state-for-batch": ((5, 3, 4), ((1, 6), (1, 6))),
    "batched-state-for-unbatched": ((5, 4), ((1, 3, 6), (1, 3, 6))),
    "no-steps": ((0, 3, 4), None),
}


@pytest.mark.parametrize("shape, states", list(WRONG.values()), ids=list(WRONG))
def test_modules_raise_what_torch_raises(shape, states):
    hx = None if states is None else tuple(torch.zeros(size) for size in states)
    raised = []
    for cls in (nn.LSTM, torch.nn.LSTM):
        with pytest.raises((RuntimeError, ValueError)) as caught:
            cls(4, 6)(torch.zeros(shape), hx)
        raised.append(caught.value)
    assert type(raised[0]) is type(raised[1])


@pytest.mark.parametrize("kind", ["LSTM", "LSTMCell"])
@pytest.mark.parametrize(
    ("error", "count"), [(TypeError, None), (RuntimeError, 0), (RuntimeError, 1), (RuntimeError, 3)]
)
def test_hx_must_be_h_and_c(kind, error, count):
    state = torch.zeros(*[1] * (kind == "LSTM"), 2, 6)
    hx = state if count is None else (state,) * count
    with pytest.raises(error, match=f"{kind}: hx must be the tuple of h and c"):
        getattr(nn, kind)(4, 6)(torch.randn(*[5] * (kind == "LSTM"), 2, 4), hx)


def test_wrong_dtype_raises_what_torch_raises():
    for cls in (nn.LSTM, torch.nn.LSTM):
        with pytest.raises(ValueError, match="RNN input dtype"):
            cls(4, 6)(torch.zeros(5, 3, 4, dtype=torch.float64))


def test_cells_one_after_another_are_the_sequence():
    layer, cell = nn.LSTM(4, 6, dtype=torch.float64), nn.LSTMCell(4, 6, dtype=torch.float64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    input = torch.randn(5, 3, 4, dtype=torch.float64)
    hx = None
    for x in input:
        hx = cell(x, hx)
    output, (h, c) = layer(input)
    assert_same([*hx, hx[0]], [h[0], c[0], output[-1]])


def measured(kind, least):
    return tables.Table(tables.Cpu.here(), {"linear": {kind: least}}, "made up")


def test_bf16_inference_goes_where_the_cpu_multiplies_bf16(monkeypatch):
    layer, input = nn.LSTM(4, 6).bfloat16(), torch.randn(5, 3, 4).bfloat16()
    packed = pack_sequence(sequences(torch.bfloat16), enforce_sorted=False)

    def chosen(layer, input, grad=False):
        with torch.set_grad_enabled(grad):
            return nnzoo_fast.explain(layer, input).chosen

    monkeypatch.setattr(_compat, "CPU_MULTIPLIES_BF16", True)
    monkeypatch.setattr(tables, "TABLE", measured("bfloat16 wide forward", 0))
    monkeypatch.setattr(_extension, "MULTIPLIES_BF16", False)
    assert chosen(layer, input) == "torch"
    assert chosen(layer, input, grad=True) == chosen(layer, packed) == chosen(layer.float(), input.float()) == "cpu"
    monkeypatch.setattr(_extension, "MULTIPLIES_BF16", True)
    assert chosen(layer.bfloat16(), input) == "cpu"
    monkeypatch.setattr(tables, "TABLE", None)
    assert chosen(layer, input) == "torch"
    monkeypatch.setattr(_compat, "CPU_MULTIPLIES_BF16", False)
    assert chosen(layer, input) == "cpu"
