"""The calls of `layer_norm` that are checked and timed."""

import functools
import math

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.layer_norm import layer_norm, operation, reference
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def shaped(lead, normalized_shape, weight=True, bias=True, eps=1e-5, shift=0.0, scale=1.0, name=""):
    def make(maker):
        return Call(
            (
                maker.normal(*lead, *normalized_shape, scale=scale, shift=shift),
                normalized_shape,
                maker.normal(*normalized_shape) if weight else None,
                maker.normal(*normalized_shape) if bias else None,
                eps,
            )
        )

    parts = ["x".join(map(str, lead)) or "row", "x".join(map(str, normalized_shape))]
    parts += [part for part, wanted in (("noweight", not weight), ("nobias", not bias), (name, name)) if wanted]
    return Sample("-".join(parts), make)


def strided(maker):
    """Every second column of a transposed input, and a weight that is a column."""
    input = maker.normal(18, 30).detach().t()[:, ::2].requires_grad_(maker.grad)
    return Call((input, (9,), maker.normal(9, 2).detach()[:, 0].requires_grad_(maker.grad)))


def constant_rows(maker):
    values = torch.tensor([0.0, 1.0, -3.0, 1e4], dtype=torch.float64)[:, None].expand(4, 37)
    return Call((maker.wrap(values), (37,), maker.normal(37, grad=False), maker.normal(37), 1e-3))


def non_finite(maker):
    values = torch.randn(4, 21, generator=maker.generator, dtype=torch.float64)
    values[1, 3], values[2, 4] = math.inf, math.nan
    return Call((maker.wrap(values, grad=False), (21,), maker.normal(21, grad=False), None))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"input": maker.normal(6, 4), "normalized_shape": [4], "weight": maker.normal(4)}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(lead, normalized_shape, quick=False):
    sample = shaped(lead, normalized_shape)
    values = 2 * math.prod(lead) * math.prod(normalized_shape) + 2 * math.prod(normalized_shape)
    flops = operation.flops((*lead, *normalized_shape), normalized_shape, None, None, 1e-5)
    return BenchCase(sample.id, sample.make, flops, 4 * values, quick)


SPEC = OpSpec(
    name="layer_norm",
    function=layer_norm,
    stock=F.layer_norm,
    samples=[
        shaped((3, 5), (17,)),
        shaped((), (3,)),
        Sample(
            "one-value", lambda maker: Call((maker.normal(5, 1, grad=False), [1], None, maker.normal(1, grad=False)))
        ),
        shaped((67,), (130,), bias=False),
        shaped((2, 3), (5, 7), weight=False),
        shaped((2,), (3, 4), weight=False, bias=False),
        shaped((2,), (4099,)),
        shaped((0,), (5,)),
        shaped((3,), (0,)),
        shaped((9,), (64,), shift=5.0, name="off-center"),
        shaped((9,), (64,), scale=1e-4, name="tiny"),
        Sample("strided", strided),
        Sample("constant-rows", constant_rows),
        Sample("non-finite", non_finite),
    ],
    errors=[
        wrong("shape", RuntimeError, r"input is \[6, 4\], expected \[\*, 3\]", normalized_shape=[3]),
        wrong("shape-empty", RuntimeError, "normalized_shape is", normalized_shape=[]),
        wrong("shape-long", RuntimeError, "input is", normalized_shape=[2, 6, 4]),
        wrong("weight-size", RuntimeError, "weight is", weight=torch.ones(3)),
        wrong("bias-size", RuntimeError, "bias is", bias=torch.ones(1, 4)),
        wrong("weight-dtype", RuntimeError, "weight is torch.float64", weight=torch.ones(4).double()),
        wrong("input-list", TypeError, "input", input=[1.0]),
    ],
    bench=[bench((4096,), (768,), quick=True), bench((8192,), (128,)), bench((512,), (4096,))],
    variants={
        "an operator a step": lambda *args: reference(*args),
        "one visit a row": functools.partial(layer_norm, backend="cpu"),
    },
    length=lambda call: call.args[0].numel() if call.args else 1,
)
