"""The calls of the recurrent operations that are checked and timed, written once for all of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from nnzoo_fast.recurrent.family import Family
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, Maker, Sample


@dataclass(frozen=True)
class Samples:
    """Calls of the operation of a family."""

    family: Family

    def flat_weights(self, maker, in_features, hidden, layers=1, count=1, bias=True, projection=0):
        """Weights in torch's order and of torch's initial size."""
        scale, rows = hidden**-0.5, self.family.gates * hidden
        out = projection or hidden
        weights = []
        for index in range(layers * count):
            features = in_features if index < count else out * count
            shapes = [(rows, features), (rows, out), *([(rows,)] * 2 if bias else [])]
            shapes += [(out, hidden)] if projection else []
            weights += [maker.normal(*shape, scale=scale) for shape in shapes]
        return weights

    def state(self, maker, layers, count, batch, hidden, projection=0):
        """h0, or the tuple of h0 and c0."""
        h0 = maker.normal(layers * count, batch, projection or hidden)
        return (h0, maker.normal(layers * count, batch, hidden)) if self.family.has_cells else h0

    def call_of(
        self,
        maker,
        steps,
        batch,
        in_features,
        hidden,
        layers=1,
        bidirectional=False,
        bias=True,
        projection=0,
        given=True,
        **more,
    ):
        count = 2 if bidirectional else 1
        shape = (batch, steps, in_features) if more.get("batch_first") else (steps, batch, in_features)
        hx = self.state(maker, layers, count, batch, hidden, projection) if given else None
        weights = self.flat_weights(maker, in_features, hidden, layers, count, bias, projection)
        more = {"num_layers": layers, "bidirectional": bidirectional, **more}
        return Call((maker.normal(*shape), hx, weights, bias), more)

    def shaped(self, id, *sizes, long=False, **options):
        return Sample(id, lambda maker: self.call_of(maker, *sizes, **options), long)

    def packed_call(
        self, maker, lengths, in_features, hidden, layers=1, bidirectional=False, projection=0, given=True, **more
    ):
        count = 2 if bidirectional else 1
        batch_sizes = torch.tensor([sum(length > step for length in lengths) for step in range(max(lengths))])
        hx = self.state(maker, layers, count, len(lengths), hidden, projection) if given else None
        weights = self.flat_weights(maker, in_features, hidden, layers, count, True, projection)
        options = {"num_layers": layers, "bidirectional": bidirectional, "batch_sizes": batch_sizes, **more}
        return Call((maker.normal(sum(lengths), in_features), hx, weights), options)

    def packed(self, id, *sizes, long=False, **options):
        return Sample(id, lambda maker: self.packed_call(maker, *sizes, **options), long)

    def with_dropout(self, id, probability, layers, bidirectional=False, lengths=None):
        def make(maker):
            if lengths is None:
                call = self.call_of(maker, 4, 3, 5, 6, layers, bidirectional)
            else:
                call = self.packed_call(maker, lengths, 5, 6, layers, bidirectional)
            seed = torch.tensor([1234], device=maker.device)
            return Call(call.args, {**call.kwargs, "dropout": probability, "train": True, "seed": seed})

        return Sample(id, make)

    def saturated(self, maker):
        """Arguments of some hundreds: most gates are 0 or 1 to the last digit, and the gradients are those of the few
        that are not, whose arguments are small differences of large products."""
        call = self.call_of(maker, 3, 2, 4, 6)
        return Call((maker.normal(3, 2, 4, scale=300.0), *call.args[1:]), call.kwargs)

    def zeros(self, maker):
        call = self.call_of(maker, 3, 2, 4, 6)
        return call.map(lambda tensor: torch.zeros_like(tensor).requires_grad_(tensor.requires_grad))

    def strided(self, maker):
        """Every second feature, a transposed state, weights that are columns of wider ones."""
        input = maker.normal(4, 3, 10).detach()[..., ::2].requires_grad_(maker.grad)
        count = 2 if self.family.has_cells else 1
        hx = [maker.normal(1, 6, 3).detach().transpose(1, 2).requires_grad_(maker.grad) for _ in range(count)]
        weights = [weight.detach() for weight in self.flat_weights(maker, 5, 6)]
        wide = [torch.stack([weight, weight], -1)[..., 0].requires_grad_(maker.grad) for weight in weights]
        return Call((input, tuple(hx) if self.family.has_cells else hx[0], wide))

    def wrong(self, id, exception, message, **changes):
        """A right call but for one argument."""

        def make(maker):
            names = ("input", "hx", "weights")
            arguments = dict(zip(names, self.call_of(maker, 4, 3, 5, 6, 2).args[:3], strict=True)) | {"num_layers": 2}
            arguments |= {name: change(maker, arguments.get(name)) for name, change in changes.items()}
            return Call(tuple(arguments.pop(name) for name in names), arguments)

        return ErrorSample(id, make, exception, message)

    def packed_sizes(self, *sizes, dtype=torch.int64):
        return {
            "batch_sizes": lambda m, _: torch.tensor(sizes, dtype=dtype),
            "input": lambda m, _: m.normal(5, 5),
            "hx": lambda m, _: self.state(m, 2, 1, 3, 6),
        }

    def errors(self):
        """Wrong calls of any recurrent operation."""
        wrong, packed_sizes, rows = self.wrong, self.packed_sizes, self.family.gates * 6
        h0 = r"hx\[0\]" if self.family.has_cells else "hx"

        def changed(make):
            return replaced(0, make) if self.family.has_cells else make

        return [
            wrong("input-2d", RuntimeError, "input", input=lambda m, _: m.normal(4, 5)),
            wrong("input-features", RuntimeError, r"weights\[0\]", input=lambda m, _: m.normal(4, 3, 7)),
            wrong("no-steps", RuntimeError, "input", input=lambda m, _: m.normal(0, 3, 5)),
            wrong("h0-batch", RuntimeError, h0, hx=changed(lambda m, _: m.normal(2, 4, 6))),
            wrong("h0-hidden", RuntimeError, h0, hx=changed(lambda m, _: m.normal(2, 3, 7))),
            wrong("h0-dtype", RuntimeError, h0, hx=changed(lambda m, t: t.detach().double())),
            wrong("weights-count", RuntimeError, "weights", weights=lambda m, w: w[:-1]),
            wrong("w_hh-shape", RuntimeError, r"weights\[1\]", weights=replaced(1, lambda m, _: m.normal(rows, 5))),
            wrong("w_hh-1d", RuntimeError, r"weights\[1\]", weights=replaced(1, lambda m, _: m.normal(rows))),
            wrong("bias-shape", RuntimeError, r"weights\[6\]", weights=replaced(6, lambda m, _: m.normal(rows - 1))),
            wrong("bias-dtype", RuntimeError, r"weights\[2\]", weights=replaced(2, lambda m, t: t.detach().double())),
            wrong("no-layers", RuntimeError, "num_layers", num_layers=lambda m, _: 0),
            wrong("dropout", ValueError, "dropout", dropout=lambda m, _: 1.5),
            wrong("batch-first-packed", ValueError, "batch_first", batch_first=lambda m, _: True, **packed_sizes(3, 2)),
            wrong("packed-3d", RuntimeError, "input", batch_sizes=lambda m, _: torch.tensor([3, 2])),
            wrong("sizes-dtype", RuntimeError, "batch_sizes", **packed_sizes(3, 2, dtype=torch.int32)),
            wrong("sizes-empty", RuntimeError, "batch_sizes", **packed_sizes()),
        ]

    def size_errors(self):
        """What only a kernel sees: the values of batch_sizes."""
        cases = {"grow": (3, 1, 1, 2), "sum": (3, 1), "zero": (3, 2, 0), "batch": (4, 1)}
        return [
            self.wrong(f"sizes-{name}", RuntimeError, "batch_sizes", **self.packed_sizes(*sizes))
            for name, sizes in cases.items()
        ]

    def bench(self, steps, batch, in_features, hidden, layers=1, bidirectional=False, quick=False, lengths=None):
        count = 2 if bidirectional else 1
        rows = sum(lengths) if lengths else steps * batch
        features = [in_features if layer == 0 else hidden * count for layer in range(layers)]
        weights = count * sum(self.family.gates * hidden * (feature + hidden + 2) for feature in features)
        id = f"T{steps}-B{batch}-I{in_features}-H{hidden}-L{layers}{'-bi' if bidirectional else ''}"
        shared = {"in_features": in_features, "hidden": hidden, "given": False}
        if lengths:
            make = functools.partial(self.packed_call, lengths=lengths, **shared)
        else:
            own = {"steps": steps, "batch": batch, "layers": layers, "bidirectional": bidirectional}
            make = functools.partial(self.call_of, **own, **shared)
        values = rows * (in_features + hidden * count) + weights
        return BenchCase(id + ("-packed" if lengths else ""), make, 2 * rows * weights, 4 * values, quick)

    def length(self, call: Call) -> int:
        """The `length` of a spec: terms of the longest sum."""
        return max(self.family.gates * call.args[2][1].shape[0], call.args[0].shape[:-1].numel())


def replaced(index, make):
    """A change of one element of a list or tuple."""

    def change(maker: Maker, values):
        values = list(values)
        values[index] = make(maker, values[index])
        return values

    return change
