"""The calls of `lstm` that are checked and timed."""

import functools

import torch

from nnzoo_fast.ops.lstm import lstm
from nnzoo_fast.ops.lstm.variants import loop_of_cells, loop_of_operators
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def flat_weights(maker, in_features, hidden, layers=1, count=1, bias=True, projection=0):
    """Weights in torch's order and of torch's initial size."""
    scale = hidden**-0.5
    out = projection or hidden
    weights = []
    for index in range(layers * count):
        features = in_features if index < count else out * count
        shapes = [(4 * hidden, features), (4 * hidden, out), *([(4 * hidden,)] * 2 if bias else [])]
        shapes += [(out, hidden)] if projection else []
        weights += [maker.normal(*shape, scale=scale) for shape in shapes]
    return weights


def state(maker, layers, count, batch, hidden, projection=0):
    return tuple(maker.normal(layers * count, batch, width) for width in (projection or hidden, hidden))


def call_of(
    maker, steps, batch, in_features, hidden, layers=1, bidirectional=False, bias=True, projection=0, given=True, **more
):
    count = 2 if bidirectional else 1
    shape = (batch, steps, in_features) if more.get("batch_first") else (steps, batch, in_features)
    hx = state(maker, layers, count, batch, hidden, projection) if given else None
    weights = flat_weights(maker, in_features, hidden, layers, count, bias, projection)
    more = {"num_layers": layers, "bidirectional": bidirectional, **more}
    return Call((maker.normal(*shape), hx, weights, bias), more)


def shaped(id, *sizes, long=False, **options):
    return Sample(id, lambda maker: call_of(maker, *sizes, **options), long)


def packed_call(maker, lengths, in_features, hidden, layers=1, bidirectional=False, projection=0, given=True):
    count = 2 if bidirectional else 1
    batch_sizes = torch.tensor([sum(length > step for length in lengths) for step in range(max(lengths))])
    hx = state(maker, layers, count, len(lengths), hidden, projection) if given else None
    weights = flat_weights(maker, in_features, hidden, layers, count, True, projection)
    options = {"num_layers": layers, "bidirectional": bidirectional, "batch_sizes": batch_sizes}
    return Call((maker.normal(sum(lengths), in_features), hx, weights), options)


def packed(id, *sizes, long=False, **options):
    return Sample(id, lambda maker: packed_call(maker, *sizes, **options), long)


def with_dropout(id, probability, layers, bidirectional=False, lengths=None):
    def make(maker):
        if lengths is None:
            call = call_of(maker, 4, 3, 5, 6, layers, bidirectional)
        else:
            call = packed_call(maker, lengths, 5, 6, layers, bidirectional)
        seed = torch.tensor([1234], device=maker.device)
        return Call(call.args, {**call.kwargs, "dropout": probability, "train": True, "seed": seed})

    return Sample(id, make)


def saturated(maker):
    """Pre-activations of some hundreds: most gates are 0 or 1 to the last digit, and the gradients are those of the few
    that are not, whose arguments are small differences of large products."""
    call = call_of(maker, 3, 2, 4, 6)
    return Call((maker.normal(3, 2, 4, scale=300.0), *call.args[1:]), call.kwargs)


def zeros(maker):
    call = call_of(maker, 3, 2, 4, 6)
    return call.map(lambda tensor: torch.zeros_like(tensor).requires_grad_(tensor.requires_grad))


def strided(maker):
    """Every second feature, a transposed state, weights that are columns of wider ones."""
    input = maker.normal(4, 3, 10).detach()[..., ::2].requires_grad_(maker.grad)
    hx = tuple(maker.normal(1, 6, 3).detach().transpose(1, 2).requires_grad_(maker.grad) for _ in range(2))
    weights = [weight.detach() for weight in flat_weights(maker, 5, 6)]
    wide = [torch.stack([weight, weight], -1)[..., 0].requires_grad_(maker.grad) for weight in weights]
    return Call((input, hx, wide))


def wrong(id, exception, message, **changes):
    """A right call but for one argument."""

    def make(maker):
        names = ("input", "hx", "weights")
        arguments = dict(zip(names, call_of(maker, 4, 3, 5, 6, 2).args[:3], strict=True)) | {"num_layers": 2}
        arguments |= {name: change(maker, arguments.get(name)) for name, change in changes.items()}
        return Call(tuple(arguments.pop(name) for name in names), arguments)

    return ErrorSample(id, make, exception, message)


def replaced(index, make):
    """A change of one element of a list or tuple."""

    def change(maker, values):
        values = list(values)
        values[index] = make(maker, values[index])
        return values

    return change


def packed_sizes(*sizes, dtype=torch.int64):
    return {
        "batch_sizes": lambda m, _: torch.tensor(sizes, dtype=dtype),
        "input": lambda m, _: m.normal(5, 5),
        "hx": lambda m, _: state(m, 2, 1, 3, 6),
    }


ERRORS = [
    wrong("input-2d", RuntimeError, "input", input=lambda m, _: m.normal(4, 5)),
    wrong("input-features", RuntimeError, r"weights\[0\]", input=lambda m, _: m.normal(4, 3, 7)),
    wrong("no-steps", RuntimeError, "input", input=lambda m, _: m.normal(0, 3, 5)),
    wrong("h0-batch", RuntimeError, r"hx\[0\]", hx=replaced(0, lambda m, _: m.normal(2, 4, 6))),
    wrong("c0-hidden", RuntimeError, r"hx\[1\]", hx=replaced(1, lambda m, _: m.normal(2, 3, 7))),
    wrong("c0-dtype", RuntimeError, r"hx\[1\]", hx=replaced(1, lambda m, t: t.detach().double())),
    wrong("weights-count", RuntimeError, "weights", weights=lambda m, w: w[:-1]),
    wrong("w_hh-shape", RuntimeError, r"weights\[1\]", weights=replaced(1, lambda m, _: m.normal(24, 5))),
    wrong("w_hh-1d", RuntimeError, r"weights\[1\]", weights=replaced(1, lambda m, _: m.normal(24))),
    wrong("bias-shape", RuntimeError, r"weights\[6\]", weights=replaced(6, lambda m, _: m.normal(23))),
    wrong("bias-dtype", RuntimeError, r"weights\[2\]", weights=replaced(2, lambda m, t: t.detach().double())),
    wrong("no-layers", RuntimeError, "num_layers", num_layers=lambda m, _: 0),
    wrong("dropout", ValueError, "dropout", dropout=lambda m, _: 1.5),
    wrong("batch-first-packed", ValueError, "batch_first", batch_first=lambda m, _: True, **packed_sizes(3, 2)),
    wrong("packed-3d", RuntimeError, "input", batch_sizes=lambda m, _: torch.tensor([3, 2])),
    wrong("sizes-dtype", RuntimeError, "batch_sizes", **packed_sizes(3, 2, dtype=torch.int32)),
    wrong("sizes-empty", RuntimeError, "batch_sizes", **packed_sizes()),
]

# What only a kernel sees: the values of batch_sizes.
SIZE_ERRORS = [
    wrong("sizes-grow", RuntimeError, "batch_sizes", **packed_sizes(3, 1, 1, 2)),
    wrong("sizes-sum", RuntimeError, "batch_sizes", **packed_sizes(3, 1)),
    wrong("sizes-zero", RuntimeError, "batch_sizes", **packed_sizes(3, 2, 0)),
    wrong("sizes-batch", RuntimeError, "batch_sizes", **packed_sizes(4, 1)),
]


def bench(steps, batch, in_features, hidden, layers=1, bidirectional=False, quick=False, lengths=None):
    count = 2 if bidirectional else 1
    rows = sum(lengths) if lengths else steps * batch
    features = [in_features if layer == 0 else hidden * count for layer in range(layers)]
    weights = count * sum(4 * hidden * (feature + hidden + 2) for feature in features)
    id = f"T{steps}-B{batch}-I{in_features}-H{hidden}-L{layers}{'-bi' if bidirectional else ''}"
    if lengths:
        make = functools.partial(packed_call, lengths=lengths, in_features=in_features, hidden=hidden, given=False)
    else:
        make = functools.partial(call_of, steps=steps, batch=batch, in_features=in_features, hidden=hidden)
        make = functools.partial(make, layers=layers, bidirectional=bidirectional, given=False)
    values = rows * (in_features + hidden * count) + weights
    return BenchCase(id + ("-packed" if lengths else ""), make, 2 * rows * weights, 4 * values, quick)


SPEC = OpSpec(
    name="lstm",
    function=lstm,
    stock=functools.partial(lstm, backend="torch"),
    samples=[
        shaped("T3-B2-I4-H5", 3, 2, 4, 5),
        shaped("T1-B2-I3-H4-zero-state", 1, 2, 3, 4, given=False),
        shaped("T2-B3-I2-H3-L2-bi", 2, 3, 2, 3, 2, True),
        packed("packed-3-2-2", (3, 2, 2), 3, 4),
        shaped("T5-B1-I7-H17-nobias", 5, 1, 7, 17, bias=False),
        shaped("T7-B13-I33-H20", 7, 13, 33, 20),
        shaped("T4-B7-I5-H67-bi", 4, 7, 5, 67, 1, True),
        shaped("T3-B19-I65-H130-L2", 3, 19, 65, 130, 2),
        shaped("T6-B5-I9-H21-proj8", 6, 5, 9, 21, projection=8),
        shaped("T3-B4-I6-H35-proj17-L3-bi-nobias", 3, 4, 6, 35, 3, True, False, 17),
        shaped("T90-B6-I3-H8-chunks", 90, 6, 3, 8, given=False, long=True),
        shaped("B4-T5-I6-H9-batch-first-bi", 5, 4, 6, 9, 1, True, batch_first=True),
        shaped("T2-B0-I3-H4", 2, 0, 3, 4),
        packed("packed-9-5-5-2-1-L2-bi", (9, 5, 5, 2, 1), 5, 19, 2, True),
        packed("packed-6-6-1-proj5-bi-zero-state", (6, 6, 1), 4, 18, 1, True, 5, False),
        packed("packed-1-1", (1, 1), 3, 6),
        packed("packed-300-to-1-bi", tuple(range(300, 0, -13)), 3, 6, 1, True, long=True),
        with_dropout("dropout-0.4-L3", 0.4, 3),
        with_dropout("dropout-0.5-L2-bi-packed", 0.5, 2, True, (4, 2, 1)),
        with_dropout("dropout-1-L2", 1.0, 2),
        Sample("saturated", saturated, ill_conditioned=True),
        Sample("zeros", zeros),
        Sample("strided", strided),
    ],
    errors=ERRORS,
    bench=[
        bench(100, 32, 128, 256, quick=True),
        bench(35, 64, 32, 128, quick=True),
        bench(50, 8, 128, 256),
        bench(50, 1, 128, 256, quick=True),
        bench(50, 4, 64, 128),
        bench(1, 32, 128, 256),
        bench(50, 16, 64, 128, 1, True),
        bench(50, 32, 128, 128, 2),
        bench(50, 32, 256, 512),
        bench(50, 32, 64, 128, lengths=tuple(range(50, 18, -1)), quick=True),
    ],
    length=lambda call: max(4 * call.args[2][1].shape[0], call.args[0].shape[:-1].numel()),
    variants={
        "loop of torch operators": loop_of_operators,
        "loop of fused cells": loop_of_cells,
        "sequence": functools.partial(lstm, backend="cpu"),
    },
)
