"""The calls of `cross_entropy` that are checked and timed."""

import functools
import math

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.cross_entropy import cross_entropy
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(input, target, weight=None, reduction="mean", **options):
    return F.cross_entropy(input, target, weight, reduction=reduction, **options)


def classes(shape, weighted=False, ignored=False, scale=1.0, **options):
    def make(maker):
        n, c, *size = shape
        target = maker.integers(0, c, n, *size)
        if ignored:
            target.reshape(-1)[::3] = options.get("ignore_index", -100)
        weight = maker.wrap(torch.rand(c, generator=maker.generator, dtype=torch.float64), False) if weighted else None
        return Call((maker.normal(*shape, scale=scale), target, weight), options)

    words = ["weighted"] * weighted + ["ignored"] * ignored + [f"{value}" for value in options.values()]
    return Sample("-".join(["x".join(map(str, shape)), *words, *["large"] * (scale > 1)]), make)


def probabilities(shape, weighted=False, **options):
    def make(maker):
        target = maker.wrap(torch.randn(shape, generator=maker.generator, dtype=torch.float64).softmax(1))
        weight = maker.normal(shape[1], shift=3.0, grad=False) if weighted else None
        return Call((maker.normal(*shape), target, weight), options)

    words = ["weighted"] * weighted + [f"{value}" for value in options.values()]
    return Sample("-".join(["probabilities", "x".join(map(str, shape)), *words]), make)


def masked(maker):
    """Classes that are ruled out."""
    values = torch.randn(5, 39, generator=maker.generator, dtype=torch.float64)
    values[:, 1::3] = -math.inf
    return Call((maker.wrap(values), 3 * maker.integers(0, 13, 5)))


def unbatched(maker):
    return Call((maker.normal(7), maker.integers(0, 7, 1)[0]), {"reduction": "none"})


def strided(maker):
    return Call((maker.normal(9, 44).detach()[:, ::2].requires_grad_(maker.grad), maker.integers(0, 22, 18)[::2]))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"input": maker.normal(4, 5), "target": maker.integers(0, 5, 4)}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(rows, count, quick=False):
    sample = classes((rows, count))
    return BenchCase(sample.id, sample.make, 5 * rows * count, 4 * rows * count + 8 * rows, quick)


SPEC = OpSpec(
    name="cross_entropy",
    function=cross_entropy,
    stock=stock,
    samples=[
        classes((7, 5)),
        classes((5, 131), reduction="sum"),
        classes((5, 37), True, True, reduction="none"),
        classes((6, 21), True, True, label_smoothing=0.1),
        classes((6, 33), False, True, ignore_index=3, reduction="mean", label_smoothing=0.3),
        classes((2, 5, 3, 4), True, reduction="mean"),
        classes((2, 4500)),
        classes((5, 70), scale=1e4),
        classes((4, 1)),
        classes((0, 3), reduction="sum"),
        probabilities((4, 19)),
        probabilities((3, 18), True, reduction="sum", label_smoothing=0.2),
        probabilities((2, 3, 5), reduction="none"),
        Sample("masked", masked),
        Sample("unbatched", unbatched),
        Sample("strided", strided),
    ],
    errors=[
        wrong("input-list", TypeError, "input is a list", input=[1.0]),
        wrong("reduction", ValueError, "reduction", reduction="median"),
        wrong("smoothing", RuntimeError, "label_smoothing", label_smoothing=1.5),
        wrong("batch", ValueError, "target", target=torch.zeros(3, dtype=torch.int64)),
        wrong("size", RuntimeError, "target", target=torch.zeros(4, 2, dtype=torch.int64)),
        wrong("float-classes", RuntimeError, "target", target=torch.zeros(4)),
        wrong("whole-probabilities", RuntimeError, "target", target=torch.zeros(4, 5, dtype=torch.int64)),
        wrong("ignored-probabilities", RuntimeError, "ignore_index", target=torch.ones(4, 5), ignore_index=1),
        wrong("weight-size", RuntimeError, "weight", weight=torch.ones(4)),
        wrong("weight-dtype", RuntimeError, "weight", weight=torch.ones(5, dtype=torch.float64)),
        wrong("target-5", IndexError, "target 5 is", target=torch.tensor([0, 5, 1, 2]), backend="cpu"),
        wrong("target-negative", IndexError, "target -1 is", target=torch.tensor([0, 4, 1, -1]), backend="cpu"),
    ],
    bench=[bench(4096, 50257), bench(4096, 1000, quick=True), bench(128, 10)],
    length=lambda call: call.args[0].numel() if call.args else 1,
    variants={"softmax computed twice": functools.partial(cross_entropy, backend="cpu")},
)
