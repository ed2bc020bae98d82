"""The calls of `activation` that are checked and timed."""

import functools
import math

import torch

from nnzoo_fast.ops.activation import activation, reference
from nnzoo_fast.ops.activation.functions import FUNCTIONS
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample

OPERATIONS = {"relu": 1, "leaky_relu": 1, "hardswish": 4, "sigmoid": 20, "silu": 20, "elu": 20, "tanh": 25}
"""Rounded, of one value; the others take about 30."""


def stock(input, function, *parameters):
    return FUNCTIONS[function].stock(input, *parameters)


def shaped(function, shape, *parameters, scale=1.0):
    name = "-".join([function, "x".join(map(str, shape)) or "scalar", *map(str, parameters)])
    return Sample(
        name + ("-large" if scale > 1 else ""), lambda m: Call((m.normal(*shape, scale=scale), function, *parameters))
    )


def edges(function):
    """Where polynomials take over from each other, where results saturate, and no numbers at all."""

    def make(maker):
        finite = [0.0, -0.0, 1e-30, 1e-5, 0.0312, 0.6249, 0.6251, 1.0, 2.9, 4.1, 9.1, 19.9, 20.1, 88.0, 105.0, 1e4]
        values = torch.tensor([*finite, *(-value for value in finite), math.inf, -math.inf, math.nan])
        return Call((maker.wrap(values.double(), False), function))

    return Sample(f"{function}-edges", make)


def laid_out(name, view, *shape):
    """A view of a tensor of this shape."""
    return Sample(
        name,
        lambda m: Call((view(m.normal(*shape).detach()).requires_grad_(m.grad), "gelu" if "gelu" in name else "tanh")),
    )


def wrong(id, exception, message, *args):
    return ErrorSample(id, lambda maker: Call((maker.normal(3), *args)), exception, message)


def bench(function, *shape, quick=False):
    values = math.prod(shape)
    sample = shaped(function, shape)
    return BenchCase(sample.id, sample.make, OPERATIONS.get(function, 30) * values, 8 * values, quick)


SPEC = OpSpec(
    name="activation",
    function=activation,
    stock=stock,
    samples=[
        *(shaped(function, (3, 37)) for function in FUNCTIONS),
        *(edges(function) for function in FUNCTIONS),
        shaped("tanh", ()),
        shaped("silu", (0, 3)),
        shaped("gelu", (1,)),
        shaped("tanh", (5, 1025)),
        shaped("sigmoid", (4, 33), scale=30.0),
        shaped("gelu_tanh", (4, 33), scale=30.0),
        shaped("leaky_relu", (7, 5), -0.3),
        shaped("elu", (7, 5), 0.4),
        shaped("softplus", (7, 5), 0.5),
        shaped("softplus", (7, 5), -2.0, 1.0),
        laid_out("channels-last", lambda x: x.to(memory_format=torch.channels_last), 2, 5, 3, 7),
        laid_out("gelu-transposed", lambda x: x.t(), 9, 22),
        laid_out("strided", lambda x: x[::2, 1::3], 9, 44),
        laid_out("gelu-expanded", lambda x: x.expand(4, 3, 5).clone().expand(2, 4, 3, 5), 3, 5),
        laid_out("misaligned", lambda x: x[1:], 1100),
    ],
    errors=[
        wrong("unknown", ValueError, "function is 'swish'", "swish"),
        wrong("parameters", TypeError, "tanh takes 0 parameters, got 1", "tanh", 1.0),
        ErrorSample("input-list", lambda m: Call(([1.0], "tanh")), TypeError, "input"),
    ],
    bench=[
        *(bench(name, 4096, 3072, quick=name == "tanh") for name in ("tanh", "sigmoid", "gelu", "gelu_tanh", "silu")),
        *(bench(name, 4096, 3072) for name in ("relu", "elu", "mish", "softplus")),
        bench("tanh", 4096, 768),
        bench("gelu", 64, 256),
    ],
    length=lambda call: 1,
    variants={
        "an operator a step": lambda input, function: reference(input, function, []),
        "one pass": functools.partial(activation, backend="cpu"),
    },
)
