"""The calls of `embedding` that are checked and timed."""

import torch

from nnzoo_fast.ops.embedding import embedding
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(input, weight, padding_idx=None, **options):
    return torch.nn.functional.embedding(input, weight, padding_idx, **options)


def table(rows, features, *shape, **options):
    def make(maker):
        return Call((maker.integers(0, rows, *shape), maker.normal(rows, features)), options)

    names = "".join(f"-{name}{value if value is not True else ''}" for name, value in options.items())
    return Sample(f"{rows}x{features}-at-{'x'.join(map(str, shape)) or 'one'}{names}", make)


def few_rows(maker):
    """A run of rows that nobody asks for at both ends, and one row for most."""
    indices = maker.integers(40, 43, 300)
    indices[:200] = 41
    return Call((indices, maker.normal(90, 37)))


def strided(maker):
    weight = maker.normal(20, 30).detach()[::2, 3:24].requires_grad_(maker.grad)
    return Call((maker.integers(0, 10, 6, 8).t(), weight))


def transposed(maker):
    return Call((maker.integers(0, 20, 20), maker.normal(30, 20).detach().t().requires_grad_(maker.grad)))


def narrow_numbers(maker):
    return Call((maker.integers(0, 50, 70).int(), maker.normal(50, 9)))


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"input": maker.integers(0, 4, 6), "weight": maker.normal(4, 3)}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(rows, features, count, quick=False):
    sample = table(rows, features, count)
    return BenchCase(sample.id, sample.make, 0, 4 * (2 * count * features + 2 * count), quick)


SPEC = OpSpec(
    name="embedding",
    function=embedding,
    stock=stock,
    samples=[
        table(7, 3, 5),
        table(1, 1, 1),
        table(5, 3),
        table(13, 5, 2, 7),
        table(30, 17, 40, padding_idx=3),
        table(30, 17, 40, padding_idx=-1),
        table(30, 33, 90, scale_grad_by_freq=True),
        table(30, 33, 90, scale_grad_by_freq=True, padding_idx=2),
        table(700, 64, 300),
        table(30, 16, 0),
        table(30, 0, 5),
        Sample("few-rows", few_rows),
        Sample("strided", strided),
        Sample("transposed", transposed),
        Sample("int32", narrow_numbers),
    ],
    errors=[
        wrong("input-list", TypeError, "input is a list", input=[1]),
        wrong("weight-missing", TypeError, "weight is a NoneType", weight=None),
        wrong("input-float", RuntimeError, "input is torch.float32", input=torch.zeros(3)),
        wrong("weight-1d", RuntimeError, r"weight is \[4\]", weight=torch.zeros(4)),
        wrong("index-high", IndexError, "range", input=torch.tensor([1, 4])),
        wrong("index-negative", IndexError, "range", input=torch.tensor([1, -1])),
        wrong("index-high-kernel", IndexError, "index 4 at place 1", input=torch.tensor([1, 4]), backend="cpu"),
        wrong("padding-high", AssertionError, "embedding: padding_idx is 4", padding_idx=4),
        wrong("padding-low", AssertionError, "embedding: padding_idx is -5", padding_idx=-5),
    ],
    bench=[bench(50257, 768, 4096, quick=True), bench(50257, 768, 32), bench(1000, 64, 100_000)],
    length=lambda call: call.args[0].numel() if call.args else 1,
)
