"""The calls of `binary_cross_entropy_with_logits` that are checked and timed."""

import functools
import math

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.binary_cross_entropy_with_logits import binary_cross_entropy_with_logits
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(input, target, weight=None, pos_weight=None, reduction="mean"):
    return F.binary_cross_entropy_with_logits(input, target, weight, reduction=reduction, pos_weight=pos_weight)


def probabilities(maker, *shape, grad=False):
    return maker.wrap(torch.rand(shape, generator=maker.generator, dtype=torch.float64), grad)


def shaped(shape, weight=None, pos_weight=None, scale=1.0, trained_target=False, **options):
    """`weight` and `pos_weight` are shapes."""

    def make(maker):
        factors = [None if size is None else probabilities(maker, *size) + 0.5 for size in (weight, pos_weight)]
        target = probabilities(maker, *shape, grad=trained_target)
        return Call((maker.normal(*shape, scale=scale), target, *factors), options)

    words = ["x".join(map(str, shape)) or "scalar", *options.values()]
    factors = {"w": weight, "p": pos_weight}
    words += [name + "x".join(map(str, size)) for name, size in factors.items() if size is not None]
    words += ["large"] * (scale > 1) + ["target"] * trained_target
    return Sample("-".join(words), make)


def hard(maker):
    """Classes, far on either side and on none."""
    scores = torch.tensor([0.0, 1e-3, 5.0, 17.0, 40.0, 90.0, 1e4], dtype=torch.float64)
    scores = torch.cat([scores, -scores]).repeat(2)
    return Call((maker.wrap(scores), maker.wrap((torch.arange(28) < 14).double(), False)), {"reduction": "none"})


def infinite(maker):
    """Both classes are wrong about these: their losses are infinite, in torch too."""
    scores, target = torch.tensor([math.inf, -math.inf, 1.0]), torch.tensor([0.0, 1.0, 1.0])
    return Call((maker.wrap(scores.double(), False), maker.wrap(target.double(), False)), {"reduction": "none"})


def infinite_target(maker):
    """Targets that are no probabilities: the losses are infinite, not NaN."""
    target = torch.tensor([math.inf, -math.inf, 1.0, 0.5], dtype=torch.float64)
    return Call((maker.normal(4), maker.wrap(target, False)), {"reduction": "none"})


def strided(maker):
    scores = maker.normal(9, 44).detach()[:, ::2].requires_grad_(maker.grad)
    return Call((scores, probabilities(maker, 22, 9).t(), None, probabilities(maker, 22, 2)[:, 0]))


def wrong(id, exception, message, **changes):
    return ErrorSample(
        id,
        lambda m: Call((), {"input": m.normal(3, 4), "target": probabilities(m, 3, 4), **changes}),
        exception,
        message,
    )


def bench(*shape, pos_weight=False, quick=False):
    sample = shaped(shape, pos_weight=shape[-1:] if pos_weight else None)
    return BenchCase(sample.id, sample.make, 40 * math.prod(shape), 8 * math.prod(shape), quick)


SPEC = OpSpec(
    name="binary_cross_entropy_with_logits",
    function=binary_cross_entropy_with_logits,
    stock=stock,
    samples=[
        shaped((3, 5)),
        shaped((7,), reduction="sum"),
        shaped((5, 37), reduction="none"),
        shaped((5, 37), (37,), (37,)),
        shaped((2, 3, 11), (2, 3, 11), (3, 1), reduction="none"),
        shaped((4, 6), (4, 1), (1,)),
        shaped((4, 6), (), reduction="sum"),
        shaped((3, 5), trained_target=True),
        shaped((2, 4500), None, (4500,)),
        shaped((9100,)),
        shaped((6, 5), scale=1e4),
        shaped(()),
        shaped((0, 4)),
        shaped((0, 4), reduction="sum"),
        Sample("hard", hard),
        Sample("infinite", infinite),
        Sample("infinite-target", infinite_target),
        Sample("strided", strided),
    ],
    errors=[
        wrong("target-shape", ValueError, r"target is \[3\]", target=torch.ones(3)),
        wrong("weight-shape", RuntimeError, r"weight is \[3\]", weight=torch.ones(3)),
        wrong("pos-weight-shape", RuntimeError, r"pos_weight is \[2, 3, 4\]", pos_weight=torch.ones(2, 3, 4)),
        wrong("weight-trained", RuntimeError, "weight requires", weight=torch.ones(3, 4, requires_grad=True)),
        wrong("pos-weight-trained", RuntimeError, "pos_weight requires", pos_weight=torch.ones(4, requires_grad=True)),
        wrong("reduction", ValueError, "reduction is 'max'", reduction="max"),
        wrong("target-list", TypeError, "target is a list", target=[1.0]),
    ],
    bench=[bench(4096, 768, quick=True), bench(4096, 80, pos_weight=True), bench(1 << 22), bench(32, 10)],
    variants={"one pass": functools.partial(binary_cross_entropy_with_logits, backend="cpu")},
)
