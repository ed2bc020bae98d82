"""The calls of `dropout` that are checked and timed, each with the seed of its mask."""

import functools
import math

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.dropout import dropout
from nnzoo_fast.random import keep_mask
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(input, p=0.5, training=True, *, bias=None, residual=None, seed=None):
    """Torch's operators; with a seed they get our mask."""
    output = input if bias is None else input + bias
    if seed is None or not training:
        output = F.dropout(output, p, training)
    else:
        output = output * keep_mask(seed, input.shape, p) * (1 / (1 - p) if p < 1 else 0)
    return output if residual is None else output + residual


def masked(shape, p=0.5, bias=False, residual=False, seed=7):
    def make(maker):
        options = {"seed": torch.tensor([seed], device=maker.device)}
        if bias:
            options["bias"] = maker.normal(*shape[-1:])
        if residual:
            options["residual"] = maker.normal(*shape)
        return Call((maker.normal(*shape), p), options)

    words = ["x".join(map(str, shape)) or "scalar", f"p{p}", *["bias"] * bias]
    return Sample("-".join([*words, *["residual"] * residual, *["seed"] * (seed != 7)]), make)


def strided(maker):
    """Masks go by rows, whatever the strides."""
    options = {
        "bias": maker.normal(5, 2).detach()[:, 0].requires_grad_(maker.grad),
        "residual": maker.normal(5, 12).detach().t().requires_grad_(maker.grad),
        "seed": torch.tensor([3], device=maker.device),
    }
    return Call((maker.normal(24, 10).detach()[::2, ::2].requires_grad_(maker.grad), 0.3), options)


def wrong(id, exception, message, **changes):
    return ErrorSample(
        id, lambda m: Call((), {"input": m.normal(3, 4), "seed": torch.tensor([1]), **changes}), exception, message
    )


def bench(*shape, bias=False, residual=False, quick=False):
    """Without a seed, as it is called: each side draws its own masks."""
    kinds = "-bias" * bias + "-residual" * residual

    def make(maker):
        options = {"bias": maker.normal(shape[-1])} if bias else {}
        if residual:
            options["residual"] = maker.normal(*shape)
        return Call((maker.normal(*shape), 0.1), options)

    values = math.prod(shape)
    return BenchCase("x".join(map(str, shape)) + kinds, make, 40 * values, (8 + 4 * residual) * values, quick)


SPEC = OpSpec(
    name="dropout",
    function=dropout,
    stock=stock,
    samples=[
        masked((3, 37)),
        masked((7,), 0.3),
        masked((5, 31), 0.25, bias=True),
        masked((5, 33), 0.25, residual=True),
        masked((2, 3, 17), 0.6, bias=True, residual=True),
        masked((2, 4100), 0.1, bias=True, residual=True, seed=2**40 + 5),
        masked((3, 2100), 0.1),
        masked((), 0.5),
        masked((4, 5), 1.0, bias=True, residual=True),
        masked((0, 4), bias=True),
        Sample("strided", strided),
    ],
    errors=[
        wrong("p-above-1", ValueError, "between 0 and 1, but got 1.5", p=1.5),
        wrong("p-below-0", ValueError, "between 0 and 1", p=-0.1),
        wrong("input-list", TypeError, "input is a list", input=[1.0]),
        wrong("bias-size", RuntimeError, r"bias is \[3\], expected \[4\]", bias=torch.ones(3)),
        wrong("residual-size", RuntimeError, "residual is", residual=torch.ones(4)),
        wrong("residual-dtype", RuntimeError, "residual is torch.float64", residual=torch.ones(3, 4).double()),
        wrong("seed", RuntimeError, "seed is torch.float32", seed=torch.ones(1)),
        wrong("seed-int", TypeError, "seed is a int", seed=3),
    ],
    bench=[
        bench(4096, 3072, quick=True),
        bench(4096, 768, bias=True, residual=True),
        bench(4096, 768),
        bench(64, 256),
    ],
    length=lambda call: call.args[0].shape[0] if call.args and call.args[0].dim() else 1,
    variants={"an operator a step": stock, "one pass": functools.partial(dropout, backend="cpu")},
)
