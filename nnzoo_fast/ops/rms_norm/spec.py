"""The calls of `rms_norm` that are checked and timed."""

import functools
import math

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.rms_norm import operation, reference, rms_norm
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def shaped(lead, normalized_shape, weight=True, eps=None, scale=1.0, name=""):
    def make(maker):
        input = maker.normal(*lead, *normalized_shape, scale=scale)
        return Call((input, normalized_shape, maker.normal(*normalized_shape) if weight else None, eps))

    parts = ["x".join(map(str, lead)) or "row", "x".join(map(str, normalized_shape))]
    parts += [part for part, wanted in (("noweight", not weight), (name, name)) if wanted]
    return Sample("-".join(parts), make)


def strided(maker):
    input = maker.normal(18, 30).detach().t()[:, ::2].requires_grad_(maker.grad)
    return Call((input, (9,), maker.normal(9, 2).detach()[:, 0].requires_grad_(maker.grad)))


def zero_rows(maker):
    values = torch.tensor([0.0, 1.0, -3.0], dtype=torch.float64)[:, None].expand(3, 37)
    return Call((maker.wrap(values), (37,), maker.normal(37), 1e-3))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"input": maker.normal(6, 4), "normalized_shape": [4], "weight": maker.normal(4)}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(lead, normalized_shape, quick=False):
    sample = shaped(lead, normalized_shape)
    values = 2 * math.prod(lead) * math.prod(normalized_shape) + math.prod(normalized_shape)
    flops = operation.flops((*lead, *normalized_shape), normalized_shape, None, None)
    return BenchCase(sample.id, sample.make, flops, 4 * values, quick)


SPEC = OpSpec(
    name="rms_norm",
    function=rms_norm,
    stock=F.rms_norm,
    samples=[
        shaped((3, 5), (17,)),
        shaped((), (3,)),
        shaped((67,), (130,), eps=1e-6),
        shaped((2, 3), (5, 7), weight=False),
        shaped((2,), (4099,)),
        shaped((0,), (5,)),
        shaped((9,), (64,), scale=1e4, name="huge"),
        Sample("strided", strided),
        Sample("zero-rows", zero_rows),
    ],
    errors=[
        wrong("shape", RuntimeError, r"input is \[6, 4\], expected \[\*, 3\]", normalized_shape=[3]),
        wrong("shape-empty", RuntimeError, "normalized_shape is", normalized_shape=[]),
        wrong("weight-size", RuntimeError, "weight is", weight=torch.ones(3)),
        wrong("input-list", TypeError, "input", input=[1.0]),
    ],
    bench=[bench((4096,), (768,), quick=True), bench((512,), (4096,))],
    variants={
        "an operator a step": lambda *args: reference(*args),
        "one visit a row": functools.partial(rms_norm, backend="cpu"),
    },
    length=lambda call: call.args[0].numel() if call.args else 1,
)
