"""The calls of `linear` that are checked and timed."""

import functools

import torch

from nnzoo_fast.activations import ACTIVATIONS
from nnzoo_fast.ops.linear import linear, operation, stock
from nnzoo_fast.ops.linear.cpu import RUNGS
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def shaped(rows: tuple[int, ...], in_features: int, out_features: int, bias: bool = True, activation: str = "none"):
    def make(maker):
        weight = maker.normal(out_features, in_features, scale=in_features**-0.5 if in_features else 1.0)
        return Call(
            (maker.normal(*rows, in_features), weight, maker.normal(out_features) if bias else None, activation)
        )

    lead = "x".join(map(str, rows)) or "vector"
    return Sample(f"{lead}-{in_features}-{out_features}{'' if bias else '-nobias'}-{activation}", make)


def strided(maker):
    """Every second row, a transposed weight, a bias that is a column."""
    input = maker.normal(26, 19).detach()[::2].requires_grad_(maker.grad)
    weight = maker.normal(19, 23).detach().t().requires_grad_(maker.grad)
    return Call((input, weight, maker.normal(23, 2).detach()[:, 0].requires_grad_(maker.grad)))


def huge_and_tiny(maker):
    scales = torch.tensor([1e-18, 1.0, 1e18, 0.0, -1.0], dtype=torch.float64)
    values = torch.randn(5, 33, generator=maker.generator, dtype=torch.float64) * scales[:, None]
    return Call((maker.wrap(values), maker.normal(17, 33), maker.normal(17)))


def expanded(maker):
    """One row repeated by stride 0."""
    return Call((maker.normal(1, 21).detach().expand(9, 21).requires_grad_(maker.grad), maker.normal(10, 21)))


def with_residual(activation, expanded=False):
    """Something of the output's shape is added; `expanded`: one row of it, repeated by stride 0."""

    def make(maker):
        input, weight, bias = maker.normal(2, 9, 35), maker.normal(24, 35, scale=0.2), maker.normal(24)
        residual = maker.normal(24) if expanded else maker.normal(2, 9, 24)
        residual = residual.detach().expand(2, 9, 24).requires_grad_(maker.grad) if expanded else residual
        return Call((input, weight, bias, activation, residual))

    return Sample(f"residual-{activation}{'-expanded' if expanded else ''}", make)


def bench(rows, in_features, out_features, activation="none", quick=False):
    flops = operation.flops((rows, in_features), (out_features, in_features), None, activation)
    values = rows * in_features + out_features * (in_features + 1) + rows * out_features
    sample = shaped((rows,), in_features, out_features, True, activation)
    return BenchCase(sample.id, sample.make, flops, 4 * values, quick)


SPEC = OpSpec(
    name="linear",
    function=linear,
    stock=lambda input, weight, bias=None, activation="none", residual=None: stock(
        input, weight, bias, activation, residual
    ),
    samples=[
        shaped((7, 5), 17, 13),
        shaped((1,), 1, 1),
        shaped((33,), 65, 97, bias=False),
        shaped((3,), 129, 49),
        shaped((16,), 47, 50),
        shaped((70,), 300, 101),
        shaped((), 11, 6),
        shaped((0,), 8, 5),
        shaped((4,), 0, 5),
        *(shaped((19,), 31, 53, activation=name) for name in ACTIVATIONS if name != "none"),
        shaped((2, 3, 4), 40, 64, bias=False, activation="gelu"),
        with_residual("none"),
        with_residual("tanh"),
        with_residual("gelu", expanded=True),
        Sample("strided", strided),
        Sample("huge-and-tiny", huge_and_tiny),
        Sample("expanded-rows", expanded),
    ],
    errors=[
        ErrorSample("inner-sizes", lambda m: Call((m.normal(3, 4), m.normal(5, 6))), RuntimeError, "input"),
        ErrorSample("weight-1d", lambda m: Call((m.normal(3, 4), m.normal(4))), RuntimeError, "weight"),
        ErrorSample("weight-3d", lambda m: Call((m.normal(3, 4), m.normal(2, 5, 4))), RuntimeError, "weight"),
        ErrorSample("input-0d", lambda m: Call((m.normal(), m.normal(5, 4))), RuntimeError, "input"),
        ErrorSample("bias-size", lambda m: Call((m.normal(3, 4), m.normal(5, 4), m.normal(4))), RuntimeError, "bias"),
        ErrorSample("bias-2d", lambda m: Call((m.normal(3, 4), m.normal(5, 4), m.normal(1, 5))), RuntimeError, "bias"),
        ErrorSample(
            "weight-dtype", lambda m: Call((m.normal(3, 4), m.normal(5, 4).detach().half())), RuntimeError, "weight"
        ),
        ErrorSample("weight-list", lambda m: Call((m.normal(3, 4), [1.0, 2.0])), TypeError, "weight"),
        ErrorSample("weight-none", lambda m: Call((m.normal(3, 4), None)), TypeError, "weight is None"),
        ErrorSample(
            "residual-shape",
            lambda m: Call((m.normal(3, 4), m.normal(5, 4), None, "none", m.normal(1, 5))),
            RuntimeError,
            r"residual must be \[3, 5\]",
        ),
        ErrorSample(
            "activation", lambda m: Call((m.normal(3, 4), m.normal(5, 4), None, "swish")), ValueError, "activation"
        ),
    ],
    counted=[shaped((128,), 128, 128)],
    bench=[
        bench(512, 512, 512, quick=True),
        bench(1024, 1024, 1024, quick=True),
        bench(2048, 2048, 2048),
        bench(256, 1024, 4096, "gelu", quick=True),
        bench(256, 4096, 1024),
        bench(1, 1024, 1024),
        bench(16, 768, 3072, "relu"),
        bench(64, 784, 512, "relu"),
    ],
    variants={rung: functools.partial(linear, backend=f"cpu_{rung}") for rung in RUNGS}
    | {"packed": functools.partial(linear, backend="cpu")},
    length=lambda call: (
        max(call.args[1].shape[-1], call.args[0].numel() // max(call.args[0].shape[-1], 1), 1)
        if call.args[0].dim()
        else 1
    ),
)
