"""The calls of `conv_lstm` that are checked and timed."""

import functools
import math

from nnzoo_fast.ops.conv.arguments import per_dimension, resolve_padding
from nnzoo_fast.ops.conv_lstm import conv_lstm, operation
from nnzoo_fast.ops.conv_lstm import stock as composed
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(input, hx, weight_ih, weight_hh, bias=None, padding="same", dilation=1):
    """torch's convolutions, one of the input and one of the state in every step."""
    n = weight_ih.dim() - 2
    dilation = per_dimension("dilation", dilation, n)
    padding = resolve_padding(padding, weight_ih.shape[2:], [1] * n, dilation)
    output, c_n = composed(input, *(hx or (None, None)), weight_ih, weight_hh, bias, padding, dilation)
    return output, output[-1], c_n


def made(steps, batch, in_channels, hidden, size, kernel, bias=True, state=None, **options):
    """A maker of the call with random tensors; `state` is the spatial size of a given state."""

    def make(maker):
        scale = (hidden * math.prod(kernel)) ** -0.5
        w_ih = maker.normal(4 * hidden, in_channels, *kernel, scale=scale)
        w_hh = maker.normal(4 * hidden, hidden, *kernel, scale=scale)
        hx = None if state is None else (maker.normal(batch, hidden, *state), maker.normal(batch, hidden, *state))
        x = maker.normal(steps, batch, in_channels, *size)
        return Call((x, hx, w_ih, w_hh, maker.normal(4 * hidden) if bias else None), options)

    return make


def strided(maker):
    """Batch first and every second column."""
    x = maker.normal(2, 3, 2, 4, 10).detach().transpose(0, 1)[..., ::2].requires_grad_(maker.grad)
    return Call((x, None, maker.normal(12, 2, 3, 3, scale=0.3), maker.normal(12, 3, 3, 3, scale=0.3)))


def wrong(name, message, exception=RuntimeError, input=(2, 1, 3, 5, 5), ih=(8, 3, 3, 3), hh=(8, 2, 3, 3), **options):
    def make(maker):
        return Call((maker.normal(*input), None, maker.normal(*ih), maker.normal(*hh)), options)

    return ErrorSample(name, make, exception, message)


def bench(name, steps, batch, in_channels, hidden, size, quick=False):
    ih, hh = (4 * hidden, in_channels, 3, 3), (4 * hidden, hidden, 3, 3)
    shape = (steps, batch, in_channels, size, size)
    flops = operation.flops(shape, None, None, ih, hh, None, [1] * 4, [1] * 2)
    values = math.prod(shape) + math.prod(ih) + math.prod(hh) + (steps + 1) * batch * hidden * size * size
    return BenchCase(name, made(steps, batch, in_channels, hidden, (size, size), (3, 3)), flops, 4 * values, quick)


SPEC = OpSpec(
    name="conv_lstm",
    function=conv_lstm,
    stock=stock,
    samples=[
        Sample("1d-K3", made(3, 2, 3, 5, (7,), (3,))),
        Sample("1d-one-step-K2-dilated", made(1, 2, 2, 3, (6,), (2,), dilation=3)),
        Sample("2d-3x3-state", made(3, 2, 3, 4, (5, 6), (3, 3), state=(5, 6))),
        Sample("2d-valid-nobias", made(2, 1, 2, 3, (6, 5), (3, 2), bias=False, padding="valid", state=(4, 4))),
        Sample("2d-wider-5x1", made(2, 2, 1, 2, (3, 4), (5, 1), padding=(3, 1))),
        Sample("2d-many-channels", made(2, 1, 19, 35, (4, 5), (3, 3))),
        Sample("2d-batch0", made(2, 0, 2, 3, (4, 4), (3, 3))),
        Sample("3d-2x3x1", made(2, 1, 2, 3, (3, 4, 2), (2, 3, 1))),
        Sample("2d-strided-views", strided),
    ],
    errors=[
        wrong("input-4d", "input", input=(2, 3, 5, 5)),
        wrong("no-steps", "input", input=(0, 1, 3, 5, 5)),
        wrong("weight-2d", "weight_ih", ih=(8, 3)),
        wrong("channels", "weight_ih", ih=(8, 4, 3, 3)),
        wrong("not-four-gates", "weight_ih", ih=(6, 3, 3, 3)),
        wrong("hidden", "weight_hh", hh=(8, 3, 3, 3)),
        wrong("kernels-differ", "weight_hh", hh=(8, 2, 3, 1)),
        wrong("padding-negative", "padding", padding=-1),
        wrong("padding-word", "padding", padding="full"),
        wrong("dilation-0", "dilation", dilation=0),
        wrong("dilation-float", "dilation", exception=TypeError, dilation=1.5),
        wrong("kernel-beyond-input", "smaller", padding="valid", dilation=3),
        ErrorSample(
            "state-size",
            lambda m: Call(
                (m.normal(2, 1, 3, 5, 5), (m.normal(1, 2, 4, 5),) * 2, m.normal(8, 3, 3, 3), m.normal(8, 2, 3, 3))
            ),
            RuntimeError,
            "h0",
        ),
        ErrorSample(
            "dtype",
            lambda m: Call((m.normal(2, 1, 3, 5, 5), None, m.normal(8, 3, 3, 3), m.normal(8, 2, 3, 3).detach().half())),
            RuntimeError,
            "weight_hh",
        ),
    ],
    bench=[
        bench("T16-B4-32-64-32x32", 16, 4, 32, 64, 32, quick=True),
        bench("T10-B8-1-64-64x64", 10, 8, 1, 64, 64),
        bench("T10-B2-128-128-16x16", 10, 2, 128, 128, 16),
    ],
    variants={"one product a step": functools.partial(conv_lstm, backend="cpu")},
)
