"""The calls of `kl_div` that are checked and timed."""

import functools
import math
import warnings

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.kl_div import kl_div
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(input, target, reduction="mean", log_target=False):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a mean means
        return F.kl_div(input, target, reduction=reduction, log_target=log_target)


def distribution(maker, *shape, logarithms, zeros=False, scale=1.0, grad=True):
    values = (scale * torch.randn(shape, generator=maker.generator, dtype=torch.float64)).log_softmax(-1)
    values = values if logarithms else values.exp()
    if zeros:
        values[..., ::3] = 0.0
    return maker.wrap(values, grad)


def shaped(shape, reduction="mean", log_target=False, trained_target=False, zeros=False, scale=1.0):
    def make(maker):
        input = distribution(maker, *shape, logarithms=True, scale=scale)
        target = distribution(maker, *shape, logarithms=log_target, zeros=zeros, grad=trained_target)
        return Call((input, target, reduction, log_target))

    words = ["x".join(map(str, shape)), reduction, *["logarithms"] * log_target, *["target"] * trained_target]
    return Sample("-".join([*words, *["zeros"] * zeros, *["large"] * (scale > 1)]), make)


def broadcast(maker):
    return Call((distribution(maker, 6, 5, logarithms=True), distribution(maker, 5, logarithms=False)))


def strided(maker):
    input = distribution(maker, 9, 44, logarithms=True).detach()[:, ::2].requires_grad_(maker.grad)
    return Call((input, distribution(maker, 22, 9, logarithms=False, grad=False).t(), "batchmean"))


def wrong(id, exception, message, **changes):
    return ErrorSample(
        id, lambda m: Call((), {"input": m.normal(3, 4), "target": m.normal(3, 4), **changes}), exception, message
    )


def bench(*shape, log_target=False, quick=False):
    sample = shaped(shape, "batchmean", log_target)
    return BenchCase(sample.id, sample.make, 30 * math.prod(shape), 8 * math.prod(shape), quick)


SPEC = OpSpec(
    name="kl_div",
    function=kl_div,
    stock=stock,
    samples=[
        shaped((3, 5)),
        shaped((7,), "sum"),
        shaped((5, 37), "none"),
        shaped((5, 37), "none", True),
        shaped((2, 3, 11), "batchmean"),
        shaped((2, 3, 11), "batchmean", True),
        shaped((4, 9), zeros=True),
        shaped((4, 9), trained_target=True),
        shaped((4, 9), "sum", True, trained_target=True),
        shaped((2, 4500), "sum"),
        shaped((9, 33), scale=1e4),
        shaped((0, 4), "sum"),
        Sample("broadcast", broadcast),
        Sample("strided", strided),
    ],
    errors=[
        wrong("target-shape", RuntimeError, r"target is \[3\]", target=torch.ones(3)),
        wrong("reduction", ValueError, "reduction is 'max'", reduction="max"),
        wrong("target-list", TypeError, "target is a list", target=[1.0]),
    ],
    bench=[bench(4096, 768, quick=True), bench(4096, 768, log_target=True), bench(32, 10)],
    variants={"one pass": functools.partial(kl_div, backend="cpu")},
)
