"""The layers of `nnzoo_fast.nn` and the functions of `nnzoo_fast.nn.functional`, on PyTorch's own samples."""

import copy
import inspect
import io
import itertools
import math
import pickle
from types import ModuleType

import layers
import pytest
import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils._pytree import tree_map

import nnzoo_fast
from nnzoo_fast import _extension, nn, operation
from nnzoo_fast.nn import functional
from nnzoo_fast.spec import Call, Error, allowed_errors, neighbours, outputs_of

EVERY_EXAMPLE = [pytest.param(example, id=example.id) for example in layers.EXAMPLES]
EACH_LAYER = [pytest.param(example, id=example.stock.__name__) for example in layers.ONE_OF_EACH]
NOT_IN_OP_DB = {"lp_pool1d", "lp_pool2d", "lp_pool3d"}
"""Their layers, whose samples are in module_db, are nothing but calls of them."""
OUR_FUNCTIONS = sorted(set(functional.__all__) - NOT_IN_OP_DB)
MOST_SAMPLES = 64
SATURATED = ("cross_entropy", "log_softmax", "scaled_dot_product_attention", "softmax")
"""From values of -9 to 9 a softmax is all but one-hot: the gradients are what rounding leaves of 1 - p."""
ILL_CONDITIONED = (*SATURATED, "batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm")
"""Of a row of one or two values, what norms leave is rounding."""
DTYPES = [torch.float32, torch.bfloat16, torch.float64]
BACKENDS = [pytest.param(None, id="chosen"), *(["cpu"] if _extension._C else [])]
WAYS = list(itertools.product([True, False], DTYPES, [None, *(["cpu"] if _extension._C else [])]))


IN_ORDER_OF_OP_DB = {
    "embedding": lambda weight, index, **options: functional.embedding(index, weight, **options),
    "embedding_bag": lambda weight, index, **options: functional.embedding_bag(index, weight, **options),
}
"""Functions whose samples there have another order of arguments."""


FEWER_IN_OP_DB = {"embedding": 3} | dict.fromkeys(
    ("elu", "hardswish", "mish", "relu", "sigmoid", "softplus", "tanh"), 1
)
"""Functions of which op_db has less than five samples."""


def infos(name):
    name = f"nn.functional.{name}"
    return [info for info in op_db if name in (info.name, *(alias.name for alias in info.aliases))]


@pytest.fixture
def reached(monkeypatch):
    """The names of the operations that were called."""
    names = []
    monkeypatch.setattr(operation, "_recorder", lambda found, values, way: names.append(found.name))
    return names


def test_every_drop_in_has_samples():
    assert {example.stock for example in layers.EXAMPLES} == set(layers.OF_TORCH)
    assert len(layers.EXAMPLES) >= 2 * len(layers.OF_TORCH)


def every_check():
    """Each example in every way; of the crowds, each in one way, and each way with many."""
    crowd = itertools.count()  # on its own: other layers don't change how these are checked
    for example in layers.EXAMPLES:
        for training, dtype, backend in WAYS if not example.in_a_crowd else [WAYS[next(crowd) % len(WAYS)]]:
            name = f"{example.id}-{'train' if training else 'eval'}-{dtype}-{backend or 'chosen'}"
            yield pytest.param(example, training, dtype, backend, id=name)


@pytest.mark.parametrize("example, training, dtype, backend", list(every_check()))
def test_layer_equals_stock(example, training, dtype, backend, reached):
    with nnzoo_fast.backend(backend):
        problems = layers.deviations(example, example.build_ours(dtype), dtype, training)
    assert not problems, "\n".join(problems)
    assert reached or example.stock is torch.nn.Dropout, "the layer never called an operation of ours"


@pytest.mark.parametrize("example", EACH_LAYER)
def test_a_layer_wrong_by_one_percent_fails(example):
    layer = example.build_stock()
    if any(True for _ in layer.parameters()):
        with torch.no_grad():
            next(layer.parameters()).mul_(1.01)
    else:
        layer.register_forward_hook(lambda module, args, output: tree_map(one_percent_more, output))
    assert layers.deviations(example, layer, torch.float32)


def one_percent_more(value):
    return value * 1.01 if value.is_floating_point() else value


@pytest.mark.parametrize("example", EVERY_EXAMPLE)
def test_same_seed_same_weights(example):
    ours, stock = example.build_ours().state_dict(), example.build_stock().state_dict()
    assert list(ours) == list(stock)
    assert all(torch.equal(ours[name], stock[name]) for name in stock)
    other, theirs = example.build_ours(seed=1).state_dict(), example.build_stock(seed=1).state_dict()
    differ = [[name for name in a if not torch.equal(a[name], b[name])] for a, b in ((ours, other), (stock, theirs))]
    assert differ[0] == differ[1]
    assert differ[0] or "Norm" in example.stock.__name__ or not list(example.build_ours().parameters())


@pytest.mark.parametrize("stock, ours", [pytest.param(*pair, id=pair[0].__name__) for pair in layers.OF_TORCH.items()])
def test_signatures_are_those_of_torch(stock, ours):
    assert ours.__name__ == stock.__name__
    assert getattr(nn, stock.__name__) is ours
    for method in ("__init__", "forward"):
        assert _parameters(getattr(ours, method)) == _parameters(getattr(stock, method))
    assert getattr(ours, "__constants__", None) == getattr(stock, "__constants__", None)


def _parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("example", EACH_LAYER)
def test_layer_prints_like_stock(example):
    assert repr(example.build_ours()) == repr(example.build_stock())


@pytest.mark.parametrize("example", EACH_LAYER)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), "saved"])
def test_copies_of_a_layer_answer_the_same(example, copied):
    layer = example.build_ours().eval()
    twin = _saved(layer) if copied == "saved" else copied(layer)
    args, kwargs = example.inputs()
    assert type(twin) is type(layer)
    assert_equal(twin(*args, **kwargs), layer(*args, **kwargs))


def _saved(layer):
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def assert_equal(found, expected):
    found, expected = outputs_of(found), outputs_of(expected)
    assert len(found) == len(expected) > 0
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def every_compilation():
    """The transformers, which take seconds each, in one way: their layers are the others. After its first call, a lazy
    layer is one of the others too."""
    for example in layers.ONE_OF_EACH:
        if issubclass(example.stock, LazyModuleMixin):
            continue
        ways = itertools.product([True, False], ["kernels", "pure Python"])
        for training, kernels in ways if not example.in_a_crowd else [(True, "kernels")]:
            name = f"{example.stock.__name__}-{'train' if training else 'eval'}-{kernels}"
            yield pytest.param(example, training, kernels, id=name)


@pytest.mark.parametrize("example, training, kernels", list(every_compilation()))
def test_layer_compiles_in_one_graph(example, training, kernels, monkeypatch):
    if kernels == "pure Python":
        monkeypatch.setattr(_extension, "_C", None)
    torch._dynamo.reset()
    layer = example.build_ours()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    problems = layers.deviations(example, compiled, torch.float32, training)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("kernels", ["kernels", "pure Python"])
def test_a_compiled_lstm_trains_on_data(kernels, monkeypatch):
    """Only its weights want gradients, as in the first layer of a network."""
    if kernels == "pure Python":
        monkeypatch.setattr(_extension, "_C", None)
    torch._dynamo.reset()
    layer, x = nn.LSTM(8, 4), torch.randn(5, 2, 8)
    expected = torch.autograd.grad(layer(x)[0].sum(), layer.parameters())
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(x)[0].sum(), layer.parameters()), expected)


@pytest.mark.parametrize("example", EACH_LAYER)
def test_layer_exports(example):
    layer = example.build_ours().eval()
    args, kwargs = example.inputs()
    program = torch.export.export(layer, args, kwargs)
    found = outputs_of(program.module()(*args, **kwargs))
    for value, expected in zip(found, outputs_of(layer(*args, **kwargs)), strict=True):
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("example", EACH_LAYER)
def test_autocast_gives_the_dtypes_of_torch(example):
    ours, stock = example.build_ours(), example.build_stock()
    args, kwargs = example.inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = outputs_of(ours(*args, **kwargs)), outputs_of(stock(*args, **kwargs))
    assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in expected]
    # An LSTM cell's c, a GRU's h, norms, tables and layers without weights keep float32: others show autocast is on.
    lowered = torch.bfloat16 in {tensor.dtype for tensor in found} or not list(ours.parameters())
    name = example.stock.__name__
    assert (
        lowered
        or name in ("LSTMCell", "GRU", "GRUCell", "Embedding", "EmbeddingBag")
        or "Norm" in name
        or example.in_a_crowd
    )
    for value, theirs in zip(found, expected, strict=True):
        assert Error.of(value, theirs).frobenius < 4 * torch.finfo(torch.bfloat16).eps


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OUR_FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_function_equals_stock(name, dtype, backend, reached):
    """On op_db's samples, outputs and gradients; those with dropout have masks that are no one's but torch's."""
    ours, count = IN_ORDER_OF_OP_DB.get(name, getattr(functional, name)), 0
    for info in infos(name):
        torch.manual_seed(0)
        samples = list(info.sample_inputs("cpu", dtype, requires_grad=True))
        for sample in samples[:: math.ceil(len(samples) / MOST_SAMPLES)]:  # some have hundreds
            if sample.kwargs.get("dropout_p") or name == "dropout" and _draws(**sample.kwargs):
                continue
            with nnzoo_fast.backend(backend):
                problems = _differences(ours, info.op, sample, dtype, name in ILL_CONDITIONED)
            assert not problems, f"{sample}: {problems}"
            count += 1
    assert count >= FEWER_IN_OP_DB.get(name, 5)
    assert len(reached) >= count / 2 or name == "dropout"  # of 0, or in eval, which is no operation


def _draws(p=0.5, training=True):
    return training and 0 < p < 1


def _differences(ours, stock, sample, dtype, ill_conditioned=False):
    call = Call((sample.input, *sample.args), sample.kwargs)
    found, rival, truth = _function_results(ours, call), _function_results(stock, call), _truth(stock, call)
    length = max(tensor.numel() for tensor in call.tensors())
    usual = layers.errors(rival, truth)

    def problems(drawn=()):
        allowances = allowed_errors(usual, dtype, max(length, 64), drawn)
        compared = zip(found, rival, layers.errors(found, truth), allowances, strict=True)
        return [
            f"{error}, allowed {allowed}"
            for value, theirs, error, allowed in compared
            if value.dtype != theirs.dtype or not error.within(allowed)
        ]

    if not (ill_conditioned and problems()):
        return problems()
    # A dtype that is asked for would undo the lower precision of the neighbours.
    near_call = Call(call.args, {name: value for name, value in call.kwargs.items() if name != "dtype"})
    return problems(
        [layers.errors(_function_results(stock, near), _truth(stock, near)) for near in neighbours(near_call, dtype)]
    )


def _truth(stock, call):
    return _function_results(stock, call.as_dtype(torch.float64))


def _function_results(function, call):
    output, *indices = outputs_of(call.run(function))
    wanted = [tensor for tensor in call.tensors() if tensor.requires_grad]
    cotangent = torch.linspace(0.5, 2, output.numel(), dtype=torch.float64).to(output.dtype).view(output.shape)
    grads = torch.autograd.grad(output, wanted, cotangent, allow_unused=True, materialize_grads=True)
    return [output, *indices, *grads]


def test_a_function_wrong_by_one_percent_fails():
    (info,) = infos("linear")
    sample = next(iter(info.sample_inputs("cpu", torch.float32, requires_grad=True)))
    assert _differences(lambda *args, **kwargs: 1.01 * info.op(*args, **kwargs), info.op, sample, torch.float32)


@pytest.mark.parametrize("name", OUR_FUNCTIONS)
def test_function_raises_what_torch_raises(name):
    ours, count = IN_ORDER_OF_OP_DB.get(name, getattr(functional, name)), 0
    for info in infos(name):
        for error in info.error_inputs("cpu") if info.error_inputs_func else ():
            sample = error.sample_input
            with pytest.raises(error.error_type):
                ours(sample.input, *sample.args, **sample.kwargs)
            count += 1
    assert count or not any(info.error_inputs_func for info in infos(name))


def test_linear_of_a_vector_weight():
    input, weight = torch.randn(3, 4), torch.randn(4)
    assert_equal(functional.linear(input, weight), torch.nn.functional.linear(input, weight))


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged], ids=str)
def test_nested_tensors_take_stock_operators(layout):
    layer = nn.Linear(3, 4)
    nested = torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(5, 3)], layout=layout)
    for found, rows in zip(layer(nested).unbind(), nested.unbind(), strict=True):
        torch.testing.assert_close(found, layer(rows))


def test_other_names_are_those_of_torch():
    assert nn.SyncBatchNorm is torch.nn.SyncBatchNorm
    assert nn.init is torch.nn.init
    assert functional.relu6 is torch.nn.functional.relu6
    assert {"Linear", "SyncBatchNorm"} <= set(dir(nn))
    assert {"linear", "relu6"} <= set(dir(functional))
    assert nnzoo_fast.nn.functional is functional
    hidden = {name for name in dir(torch.nn) if isinstance(getattr(torch.nn, name), ModuleType)} - {"functional"}
    assert all(getattr(nn, name) is getattr(torch.nn, name) for name in hidden), "a file of ours hides torch.nn's"
    for module in (nn, functional):
        with pytest.raises(AttributeError, match="no_such_name"):
            module.no_such_name  # noqa: B018


def test_a_lazy_layer_becomes_ours():
    layer = nn.LazyLinear(3)
    assert layer(torch.randn(2, 5)).shape == (2, 3)
    assert type(layer) is nn.Linear
