"""The calls of `linear_cross_entropy` that are checked and timed."""

import functools

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.linear_cross_entropy import linear_cross_entropy
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(input, weight, target, bias=None, reduction="mean", **options):
    scores = F.linear(input, weight, bias)
    loss = F.cross_entropy(scores.flatten(0, -2), target.flatten(), reduction=reduction, **options)
    return loss.reshape(target.shape) if reduction == "none" else loss


def made(rows, features, classes, bias=True, ignored=False, **options):
    def make(maker):
        target = maker.integers(0, classes, *rows)
        if ignored:
            target.view(-1)[::3] = options.get("ignore_index", -100)
        weight = maker.normal(classes, features, scale=features**-0.5)
        bias_values = maker.normal(classes) if bias else None
        return Call((maker.normal(*rows, features), weight, target, bias_values), options)

    return make


def sample(rows, features, classes, bias=True, ignored=False, **options):
    words = ["nobias"] * (not bias) + ["ignored"] * ignored + [str(value) for value in options.values()]
    name = "-".join([f"{'x'.join(map(str, rows))}-{features}-{classes}", *words])
    return Sample(name, made(rows, features, classes, bias, ignored, **options))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"input": maker.normal(4, 3), "weight": maker.normal(5, 3), "target": maker.integers(0, 5, 4)}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(rows, features, classes, quick=False):
    values = rows * features + classes * (features + 1)
    name = f"{rows}-{features}-{classes}"
    return BenchCase(name, made((rows,), features, classes), 2 * rows * features * classes, 4 * values, quick)


SPEC = OpSpec(
    name="linear_cross_entropy",
    function=linear_cross_entropy,
    stock=stock,
    samples=[
        sample((7,), 5, 13),
        sample((5,), 9, 131, False, reduction="sum"),
        sample((70,), 6, 37, True, True),
        sample((6,), 17, 33, False, True, ignore_index=3, label_smoothing=0.1),
        sample((2, 3), 4, 7),
        sample((3,), 4, 5, reduction="none"),
        sample((0,), 4, 5, reduction="sum"),
        sample((4,), 3, 1),
    ],
    errors=[
        wrong("input-list", TypeError, "input is a list", input=[1.0]),
        wrong("reduction", ValueError, "reduction", reduction="median"),
        wrong("rows", ValueError, "target", target=torch.zeros(3, dtype=torch.int64)),
        wrong("weight-1d", RuntimeError, "weight", weight=torch.ones(3)),
        wrong("weight-features", RuntimeError, "weight", weight=torch.ones(5, 4)),
        wrong("weight-dtype", RuntimeError, "weight", weight=torch.ones(5, 3, dtype=torch.float64)),
        wrong("bias-size", RuntimeError, "bias", bias=torch.ones(4)),
        wrong("target-float", RuntimeError, "target", target=torch.zeros(4)),
        wrong("smoothing", RuntimeError, "label_smoothing", label_smoothing=-0.1),
        wrong("target-5", IndexError, "target 5 is", target=torch.tensor([0, 5, 1, 2]), backend="cpu"),
    ],
    bench=[bench(4096, 768, 50257), bench(1024, 256, 8192, quick=True), bench(64, 64, 100)],
    length=lambda call: 200,
    variants={"chunks of rows": functools.partial(linear_cross_entropy, backend="cpu")},
)
