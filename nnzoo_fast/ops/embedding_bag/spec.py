"""The calls of `embedding_bag` that are checked and timed."""

import torch

from nnzoo_fast.ops.embedding_bag import embedding_bag
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(input, weight, offsets=None, **options):
    return torch.nn.functional.embedding_bag(input, weight, offsets, **options)


def bags(rows, features, sizes, weighted=False, **options):
    """Bags of these sizes; the indices in one tensor."""

    def make(maker):
        count = sum(sizes)
        offsets = torch.tensor([0, *sizes]).cumsum(0)
        offsets = offsets if options.get("include_last_offset") else offsets[:-1]
        given = dict(options, per_sample_weights=maker.normal(count)) if weighted else options
        return Call((maker.integers(0, rows, count), maker.normal(rows, features), offsets.to(maker.device)), given)

    names = "".join(f"-{name}{value if value is not True else ''}" for name, value in options.items())
    lead = "x".join(map(str, sizes[:6])) or "none"
    return Sample(f"{rows}x{features}-{lead}{'-weighted' if weighted else ''}{names}", make)


def even(rows, features, *shape, weighted=False, **options):
    """Bags of one size, a row of the input each."""

    def make(maker):
        given = dict(options, per_sample_weights=maker.normal(*shape)) if weighted else options
        return Call((maker.integers(0, rows, *shape), maker.normal(rows, features)), given)

    words = ["-weighted"] * weighted + ["-max"] * (options.get("mode") == "max")
    return Sample(f"{rows}x{features}-rows{shape}{''.join(words)}", make)


def ties(maker):
    """Equal values of different rows, and rows that are asked for twice: the first place gets the gradient."""
    weight = maker.wrap(torch.randint(0, 2, (9, 5), generator=maker.generator).double())
    return Call((maker.integers(0, 9, 30), weight, torch.tensor([0, 8, 8, 13])), {"mode": "max"})


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"input": maker.integers(0, 4, 6), "weight": maker.normal(4, 3), "offsets": torch.tensor([0, 2])}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(rows, features, count, size, mode="sum", quick=False):
    sample = bags(rows, features, [size] * (count // size), mode=mode)
    id = f"{rows}x{features}-{count}-in-bags-of-{size}-{mode}"
    return BenchCase(id, sample.make, count * features, 4 * (count * (features + 2) + count // size * features), quick)


SPEC = OpSpec(
    name="embedding_bag",
    function=embedding_bag,
    stock=stock,
    samples=[
        bags(7, 3, [2, 0, 4], mode="sum"),
        bags(7, 3, [3, 1, 2], mode="mean"),
        bags(9, 4, [2, 5], weighted=True, mode="sum"),
        even(5, 3, 2, 3, weighted=True, mode="sum"),
        bags(40, 35, [7, 1, 0, 20, 3], include_last_offset=True),
        bags(20, 33, [7, 1, 0, 20, 3], weighted=True, mode="sum", padding_idx=2, include_last_offset=True),
        bags(6, 35, [7, 1, 0, 20, 3], mode="mean", padding_idx=-1),
        even(30, 64, 17, 9),
        bags(30, 16, [], mode="sum", include_last_offset=True),
        bags(30, 16, [0, 0], mode="sum"),
        bags(7, 3, [2, 0, 4], mode="max"),
        bags(40, 35, [7, 1, 0, 20, 3], include_last_offset=True, mode="max"),
        bags(6, 70, [7, 1, 0, 20, 3], mode="max", padding_idx=2),
        even(30, 130, 17, 9, mode="max"),
        bags(30, 16, [0, 0], mode="max"),
        Sample("ties-max", ties),
    ],
    errors=[
        wrong("input-list", TypeError, "input is a list", input=[1]),
        wrong("mode", ValueError, "mode", mode="median"),
        wrong("offsets-missing", ValueError, "offsets", offsets=None),
        wrong("offsets-late", RuntimeError, "offsets", offsets=torch.tensor([1, 2])),
        wrong("offsets-late-kernel", RuntimeError, "rise from 0", offsets=torch.tensor([1, 2]), backend="cpu"),
        wrong("offsets-decrease", RuntimeError, "decrease", offsets=torch.tensor([0, 4, 2]), backend="cpu"),
        wrong("weights-with-mean", NotImplementedError, "sum", per_sample_weights=torch.ones(6)),
        wrong("index-high", IndexError, "index 9", input=torch.tensor([1, 9, 0]), backend="cpu"),
        wrong("index-33-bits", IndexError, "index 4294967297", input=torch.tensor([1, 2**32 + 1, 0]), backend="cpu"),
        wrong("index-minus-33-bits", IndexError, "index -4294967296", input=torch.tensor([-(2**32), 0]), backend="cpu"),
        wrong("offsets-33-bits", RuntimeError, "decrease", offsets=torch.tensor([0, 2**32 + 1]), backend="cpu"),
        wrong("offsets-start-33-bits", RuntimeError, "rise from 0", offsets=torch.tensor([2**32, 2]), backend="cpu"),
        wrong("offsets-high", RuntimeError, "decrease", offsets=torch.tensor([0, 9]), padding_idx=1, backend="cpu"),
        wrong("padding", RuntimeError, "embedding_bag: padding_idx is 4", padding_idx=4, mode="sum"),
    ],
    bench=[
        bench(50_257, 128, 40_960, 10, quick=True),
        bench(1_000_000, 64, 100_000, 50),
        bench(50_257, 128, 40_960, 10, "max"),
    ],
    length=lambda call: call.args[0].numel() if call.args else 1,
)
