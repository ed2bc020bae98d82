"""The calls of `lstm_cell` that are checked and timed."""

import functools

from nnzoo_fast.ops.lstm_cell import lstm_cell, operation
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def call_of(maker, batch, in_features, hidden, b_ih=True, b_hh=True):
    scale = hidden**-0.5
    hx = (maker.normal(batch, hidden), maker.normal(batch, hidden))
    weights = [maker.normal(4 * hidden, features, scale=scale) for features in (in_features, hidden)]
    biases = [maker.normal(4 * hidden, scale=scale) if given else None for given in (b_ih, b_hh)]
    return Call((maker.normal(batch, in_features), hx, *weights, *biases))


def shaped(id, *sizes):
    return Sample(id, lambda maker: call_of(maker, *sizes))


def strided(maker):
    call = call_of(maker, 3, 5, 6)
    input = maker.normal(5, 3).detach().t().requires_grad_(maker.grad)
    w_hh = maker.normal(6, 24).detach().t().requires_grad_(maker.grad)
    return Call((input, *call.args[1:3], w_hh, *call.args[4:]))


def wrong(id, position, message, make, exception=RuntimeError):
    def changed(maker):
        args = list(call_of(maker, 3, 5, 6).args)
        args[position] = make(maker, args[position])
        return Call(tuple(args))

    return ErrorSample(id, changed, exception, message)


def bench(batch, in_features, hidden, quick=False):
    weights = 4 * hidden * (in_features + hidden + 2)
    flops = operation.flops(
        (batch, in_features), None, None, (4 * hidden, in_features), (4 * hidden, hidden), None, None
    )
    make = functools.partial(call_of, batch=batch, in_features=in_features, hidden=hidden)
    values = batch * (in_features + 4 * hidden) + weights
    return BenchCase(f"B{batch}-I{in_features}-H{hidden}", make, flops, 4 * values, quick)


SPEC = OpSpec(
    name="lstm_cell",
    function=lstm_cell,
    stock=functools.partial(lstm_cell, backend="torch"),
    samples=[
        shaped("B3-I2-H4", 3, 2, 4),
        shaped("B1-I7-H19", 1, 7, 19),
        shaped("B17-I33-H70", 17, 33, 70),
        shaped("B5-I4-H6-nobias", 5, 4, 6, False, False),
        shaped("B0-I3-H4", 0, 3, 4),
        Sample("strided", strided),
    ],
    errors=[
        wrong("input-1d", 0, "input", lambda m, _: m.normal(5)),
        wrong("input-features", 0, "w_ih", lambda m, _: m.normal(3, 4)),
        wrong("w_ih-none", 2, "w_ih is None", lambda m, _: None, TypeError),
        wrong("h-1d", 1, r"hx\[0\]", lambda m, hx: (m.normal(6), hx[1])),
        wrong("h-batch", 1, r"hx\[0\]", lambda m, hx: (m.normal(2, 6), hx[1])),
        wrong("c-hidden", 1, r"hx\[1\]", lambda m, hx: (hx[0], m.normal(3, 5))),
        wrong("c-dtype", 1, r"hx\[1\]", lambda m, hx: (hx[0], hx[1].detach().double())),
        wrong("w_ih-3-gates", 2, "w_ih", lambda m, _: m.normal(18, 5)),
        wrong("w_hh-shape", 3, "w_hh", lambda m, _: m.normal(24, 5)),
        wrong("b_ih-size", 4, "b_ih", lambda m, _: m.normal(23)),
        wrong("b_hh-2d", 5, "b_hh", lambda m, _: m.normal(1, 24)),
    ],
    bench=[bench(32, 128, 256, quick=True), bench(1, 128, 256), bench(64, 256, 512), bench(4, 32, 64)],
    length=lambda call: max(4 * call.args[1][0].shape[1], call.args[0].shape[0], 1),
)
