"""The calls of `add_norm` that are checked and timed. Without dropout: no one's mask but torch's equals torch's."""

import functools
import math

import torch

from nnzoo_fast.ops.add_norm import add_norm, operation, reference
from nnzoo_fast.ops.add_norm import stock as composed
from nnzoo_fast.ops.add_norm.reference import NORMS
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(
    input, residual, normalized_shape, weight=None, bias=None, eps=None, dropout_p=0.0, norm="layer", *, backend=None
):
    return composed(input, residual, normalized_shape, weight, bias, eps, dropout_p, norm)


def shaped(norm, lead, normalized_shape, weight=True, bias=True, eps=None, shift=0.0, dropout_p=0.0, name=""):
    bias = bias and norm == "layer"

    def make(maker):
        inputs = [maker.normal(*lead, *normalized_shape, shift=shift) for _ in range(2)]
        parameters = [maker.normal(*normalized_shape) if wanted else None for wanted in (weight, bias)]
        return Call((*inputs, normalized_shape, *parameters, eps, dropout_p, norm))

    parts = [norm, "x".join(map(str, lead)) or "row", "x".join(map(str, normalized_shape))]
    parts += ["noweight"] * (not weight) + ["nobias"] * (norm == "layer" and not bias) + [name] * bool(name)
    return Sample("-".join(parts), make)


def strided(maker):
    """Summands that lie otherwise than each other, and a weight that is a column."""
    input = maker.normal(18, 30).detach().t()[:, ::2].requires_grad_(maker.grad)
    weight = maker.normal(9, 2).detach()[:, 0].requires_grad_(maker.grad)
    return Call((input, maker.normal(30, 9), (9,), weight))


def non_finite(maker):
    values = torch.randn(4, 21, generator=maker.generator, dtype=torch.float64)
    values[1, 3], values[2, 4] = math.inf, math.nan
    return Call((maker.wrap(values, grad=False), maker.normal(4, 21, grad=False), (21,)))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"input": maker.normal(6, 4), "residual": maker.normal(6, 4), "normalized_shape": [4]}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(norm, lead, normalized_shape, dropout_p=0.1, quick=False):
    sample = shaped(norm, lead, normalized_shape, dropout_p=dropout_p, name=f"dropout{dropout_p}" if dropout_p else "")
    shape = (*lead, *normalized_shape)
    flops = operation.flops(shape, shape, normalized_shape, None, None, None, dropout_p, norm, None)
    return BenchCase(sample.id, sample.make, flops, 16 * math.prod(shape), quick)


SPEC = OpSpec(
    name="add_norm",
    function=add_norm,
    stock=stock,
    samples=[
        *(shaped(norm, (3, 5), (17,)) for norm in NORMS),
        *(shaped(norm, (), (3,), eps=0.1) for norm in NORMS),
        *(shaped(norm, (67,), (130,), bias=False) for norm in NORMS),
        *(shaped(norm, (2, 3), (5, 7), weight=False) for norm in NORMS),
        shaped("layer", (2,), (3, 4), weight=False, bias=False),
        shaped("layer", (3,), (4099,)),
        shaped("layer", (0,), (5,)),
        shaped("rms", (3,), (0,)),
        shaped("layer", (9,), (64,), shift=5.0, name="off-center"),
        Sample("strided", strided),
        Sample("non-finite", non_finite),
    ],
    errors=[
        wrong("norm", ValueError, "norm is 'batch'", norm="batch"),
        wrong("dropout", ValueError, "dropout_p is 1.5", dropout_p=1.5),
        wrong("residual-shape", RuntimeError, "residual and input are", residual=torch.ones(4)),
        wrong("residual-dtype", RuntimeError, "residual and input are", residual=torch.ones(6, 4).double()),
        wrong("shape", RuntimeError, r"input is \[6, 4\], expected \[\*, 3\]", normalized_shape=[3]),
        wrong("rms-bias", RuntimeError, "expected None for norm 'rms'", norm="rms", bias=torch.ones(4)),
        wrong("weight-dtype", RuntimeError, "weight is torch.float64", weight=torch.ones(4).double()),
        wrong("input-list", TypeError, "input", input=[1.0]),
    ],
    bench=[
        bench("layer", (4096,), (768,), quick=True),
        bench("layer", (4096,), (768,), dropout_p=0.0),
        bench("rms", (2048,), (2048,)),
    ],
    variants={
        "an operator a step": lambda *args: reference(*args),
        "one visit a row": functools.partial(add_norm, backend="cpu"),
    },
    length=lambda call: call.args[0].numel() if call.args else 1,
)
