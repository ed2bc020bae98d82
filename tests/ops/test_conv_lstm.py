"""What the matrix can't say of `conv_lstm`: Keras, `LSTMCell`, the layers, threads, many channels."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from built import ISAS, needs_kernels

import nnzoo_fast
from nnzoo_fast import nn
from nnzoo_fast.ops import conv_lstm
from nnzoo_fast.ops.conv_lstm.spec import SPEC
from nnzoo_fast.spec import Call, Error, run_with_gradients

LAYERS = {1: nn.ConvLSTM1d, 2: nn.ConvLSTM2d, 3: nn.ConvLSTM3d}
SIZES = {1: (7,), 2: (5, 6), 3: (3, 4, 2)}


def hand_written(layer, x, hx=None):
    """What most implementations do: input and state in one convolution of concatenated channels, odd kernels."""
    convolve = (F.conv1d, F.conv2d, F.conv3d)[layer.dimensions - 1]
    padding = [d * (k // 2) for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
    states = []
    for index in range(layer.num_layers):
        weight = torch.cat([getattr(layer, f"weight_{kind}_l{index}") for kind in ("ih", "hh")], 1)
        if hx is None:
            h = c = x.new_zeros(x.shape[1], layer.hidden_channels, *x.shape[3:])
        else:
            h, c = hx[0][index], hx[1][index]
        outputs = []
        for step in x:
            gates = convolve(torch.cat([step, h], 1), weight, None, 1, padding, layer.dilation)
            if layer.bias:
                gates = gates + getattr(layer, f"bias_l{index}").view(-1, *[1] * layer.dimensions)
            i, f, g, o = gates.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        x = torch.stack(outputs)
        states.append((h, c))
    h_n, c_n = (torch.stack(state) for state in zip(*states, strict=True))
    return x, (h_n, c_n)


@pytest.mark.parametrize("n", LAYERS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "nobias"])
def test_layers_equal_a_hand_written_one(n, bias):
    torch.manual_seed(n)
    layer = LAYERS[n](3, 4, 3, dilation=2, bias=bias, num_layers=2, dtype=torch.float64)
    x = torch.randn(3, 2, 3, *SIZES[n], dtype=torch.float64)
    hx = torch.randn(2, 2, 2, 4, *SIZES[n], dtype=torch.float64).unbind()
    for state in (None, hx):
        (found, states), (expected, theirs) = layer(x, state), hand_written(layer, x, state)
        torch.testing.assert_close((found, *states), (expected, *theirs))
    weights = list(layer.parameters())
    grads = [
        torch.autograd.grad(f(x, hx)[0].square().sum(), weights) for f in (layer, lambda *a: hand_written(layer, *a))
    ]
    torch.testing.assert_close(*grads)


def test_ways_to_call_a_layer():
    layer = nn.ConvLSTM2d(2, 3, (3, 5), num_layers=2)
    x = torch.randn(4, 2, 2, 5, 6)
    output, (h, c) = layer(x)
    assert h.shape == c.shape == (2, 2, 3, 5, 6) and torch.equal(output[-1], h[-1])
    layer.batch_first = True
    assert torch.equal(layer(x.transpose(0, 1))[0], output.transpose(0, 1))
    single, (h1, c1) = layer(x[:, 1])
    torch.testing.assert_close((single, h1, c1), (output[:, 1], h[:, 1], c[:, 1]))
    layer.return_sequences = False
    assert torch.equal(layer(x.transpose(0, 1))[0], output[-1])
    torch.testing.assert_close(layer(x[:, 1])[0], output[-1, 1])
    first, state = layer(x[:2].transpose(0, 1))
    torch.testing.assert_close(layer(x[2:].transpose(0, 1), state)[0], output[-1])
    assert list(layer.state_dict()) == [f"{kind}_l{k}" for k in (0, 1) for kind in ("weight_ih", "weight_hh", "bias")]
    assert "3, kernel_size=(3, 5), padding='same'" in repr(layer)


@pytest.mark.parametrize(
    "options, exception",
    [
        ({"kernel_size": 0}, ValueError),
        ({"kernel_size": 1.5}, TypeError),
        ({"kernel_size": (3, 3, 3)}, RuntimeError),
        ({"hidden_channels": 0}, ValueError),
        ({"padding": "full"}, ValueError),
        ({"num_layers": 0}, ValueError),
    ],
    ids=str,
)
def test_wrong_arguments(options, exception):
    with pytest.raises(exception):
        nn.ConvLSTM2d(**{"in_channels": 2, "hidden_channels": 3, "kernel_size": 3, **options})


def test_wrong_inputs():
    layer = nn.ConvLSTM2d(2, 3, 3)
    with pytest.raises(ValueError, match="4 or 5 dimensions"):
        layer(torch.zeros(2, 5, 5))
    with pytest.raises(RuntimeError, match="num_layers=1"):
        layer(torch.zeros(1, 1, 2, 5, 5), (torch.zeros(2, 1, 3, 5, 5),) * 2)
    with pytest.raises(RuntimeError, match="weight_ih"):
        layer(torch.zeros(1, 1, 3, 5, 5))


def test_a_pixel_with_one_tap_is_an_lstm_cell():
    cell = torch.nn.LSTMCell(5, 7, dtype=torch.float64)
    x, h, c = (torch.randn(3, size, dtype=torch.float64) for size in (5, 7, 7))
    weights = (weight[..., None, None] for weight in (cell.weight_ih, cell.weight_hh))
    states = (h[..., None, None], c[..., None, None])
    _, h_n, c_n = conv_lstm(x[None, ..., None, None], states, *weights, cell.bias_ih + cell.bias_hh)
    torch.testing.assert_close((h_n[..., 0, 0], c_n[..., 0, 0]), cell(x, (h, c)))


KERAS = """
import keras, torch
from nnzoo_fast import nn
torch.manual_seed(0)
for padding, dilation, bias in (("same", 1, True), ("valid", 1, False), ("valid", 1, True)):
    theirs = keras.layers.ConvLSTM2D(
        4, (3, 2), padding=padding, dilation_rate=dilation, use_bias=bias, data_format="channels_first",
        return_sequences=True, unit_forget_bias=False)
    x = torch.randn(2, 3, 5, 7, 6)
    theirs.build(x.shape)
    kernel, recurrent, *rest = (torch.randn(tuple(w.shape)) * 0.3 for w in theirs.weights)
    theirs.set_weights([w.numpy() for w in (kernel, recurrent, *rest)])
    ours = nn.ConvLSTM2d(5, 4, (3, 2), padding, dilation, bias, batch_first=True)
    with torch.no_grad():
        ours.weight_ih_l0.copy_(kernel.permute(3, 2, 0, 1))
        ours.weight_hh_l0.copy_(recurrent.permute(3, 2, 0, 1))
        if bias:
            ours.bias_l0.copy_(rest[0])
        torch.testing.assert_close(ours(x)[0], torch.as_tensor(theirs(x)).cpu(), rtol=2e-5, atol=2e-6)
print("equal")
"""


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
def test_equals_keras():
    environment = {**os.environ, "KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run([sys.executable, "-c", KERAS], env=environment, capture_output=True, text=True)
    assert run.stdout.endswith("equal\n"), run.stderr


@needs_kernels
@pytest.mark.parametrize("name", ISAS)
def test_more_channels_than_a_block(name, isa, poisoned_memory):
    """Several blocks of channels and of depth, planes both packed and read in place."""
    isa(name)
    generator = torch.Generator().manual_seed(0)
    for in_channels, hidden, size, padding in ((70, 45, (3, 21), "same"), (4, 40, (2, 40), "valid")):
        shapes = (2, 1, in_channels, *size), (4 * hidden, in_channels, 1, 3), (4 * hidden, hidden, 1, 3)
        x, *weights = (torch.randn(shape, generator=generator, dtype=torch.float64) * 0.2 for shape in shapes)
        call = Call((x, None, *weights), {"padding": padding}).map(lambda tensor: tensor.requires_grad_())
        expected = run_with_gradients(SPEC.stock, call)
        with nnzoo_fast.backend("cpu"):
            found = run_with_gradients(conv_lstm, call)
        for one, other in zip(sum(found, []), sum(expected, []), strict=True):
            error = Error.of(one, other)
            assert max(error.frobenius, error.largest) < 1e-12


@needs_kernels
def test_threads_change_no_bit():
    before = torch.get_num_threads()
    shapes = (3, 2, 5, 9, 8), (80, 5, 3, 3), (80, 20, 3, 3)
    x, *weights = (torch.randn(shape) * 0.3 for shape in shapes)
    call = Call((x, None, *weights)).map(lambda tensor: tensor.requires_grad_())
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with nnzoo_fast.backend("cpu"):
                results.append(sum(run_with_gradients(conv_lstm, call), []))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(result, results[0], strict=True))


def test_layers_compile():
    layer, x = nn.ConvLSTM2d(2, 3, 3, num_layers=2), torch.randn(2, 1, 2, 4, 5)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x)[0], layer(x)[0])


@pytest.mark.parametrize("hx, exception", [((), RuntimeError), ((None,), RuntimeError), (torch.zeros(2), TypeError)])
def test_a_state_that_is_not_two_tensors_is_named(hx, exception):
    with pytest.raises(exception, match="conv_lstm: hx must be the tuple of h and c"):
        conv_lstm(torch.zeros(2, 1, 3, 5), hx, torch.zeros(8, 3, 3), torch.zeros(8, 2, 3))


def test_the_last_state_is_no_view_of_the_output():
    output, h_n, _ = conv_lstm(torch.randn(2, 1, 3, 5), None, torch.randn(8, 3, 3), torch.randn(8, 2, 3))
    last = output[-1].clone()
    h_n.zero_()
    assert torch.equal(output[-1], last)
