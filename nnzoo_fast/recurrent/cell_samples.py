"""The calls of the recurrent cells that are checked and timed, written once for all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnzoo_fast.recurrent.family import Family
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


@dataclass(frozen=True)
class CellSamples:
    """Calls of the cell of a family, a public function."""

    family: Family
    cell: Callable

    def call_of(self, maker, batch, in_features, hidden, b_ih=True, b_hh=True, **options):
        scale, rows = hidden**-0.5, self.family.gates * hidden
        states = [maker.normal(batch, hidden) for _ in range(self.family.states)]
        weights = [maker.normal(rows, features, scale=scale) for features in (in_features, hidden)]
        biases = [maker.normal(rows, scale=scale) if given else None for given in (b_ih, b_hh)]
        hx = tuple(states) if self.family.has_cells else states[0]
        return Call((maker.normal(batch, in_features), hx, *weights, *biases), options)

    def shaped(self, id, *sizes, **options):
        return Sample(id, lambda maker: self.call_of(maker, *sizes, **options))

    def strided(self, maker):
        call = self.call_of(maker, 3, 5, 6)
        input = maker.normal(5, 3).detach().t().requires_grad_(maker.grad)
        w_hh = maker.normal(6, self.family.gates * 6).detach().t().requires_grad_(maker.grad)
        return Call((input, *call.args[1:3], w_hh, *call.args[4:]))

    def wrong(self, id, position, message, make, exception=RuntimeError, **options):
        def changed(maker):
            args = list(self.call_of(maker, 3, 5, 6).args)
            args[position] = make(maker, args[position])
            return Call(tuple(args), options)

        return ErrorSample(id, changed, exception, message)

    def wrong_state(self, id, index, make):
        """A cell whose state `index` is wrong."""

        def change(maker, hx):
            if not self.family.has_cells:
                return make(maker, hx)
            return tuple(make(maker, state) if i == index else state for i, state in enumerate(hx))

        return self.wrong(id, 1, rf"hx\[{index}\]" if self.family.has_cells else "hx", change)

    def errors(self):
        wrong, rows = self.wrong, self.family.gates * 6
        return [
            wrong("input-1d", 0, "input", lambda m, _: m.normal(5)),
            wrong("input-features", 0, "w_ih", lambda m, _: m.normal(3, 4)),
            wrong("w_ih-none", 2, "w_ih is None", lambda m, _: None, TypeError),
            wrong("w_ih-gates", 2, "w_ih", lambda m, _: m.normal(rows + 6, 5)),
            wrong("w_hh-shape", 3, "w_hh", lambda m, _: m.normal(rows, 5)),
            wrong("b_ih-size", 4, "b_ih", lambda m, _: m.normal(rows - 1)),
            wrong("b_hh-2d", 5, "b_hh", lambda m, _: m.normal(1, rows)),
            self.wrong_state("h-1d", 0, lambda m, _: m.normal(6)),
            self.wrong_state("h-batch", 0, lambda m, _: m.normal(2, 6)),
            self.wrong_state("h-dtype", 0, lambda m, h: h.detach().double()),
        ]

    def bench(self, batch, in_features, hidden, quick=False):
        rows = self.family.gates * hidden
        weights = rows * (in_features + hidden + 2)
        make = functools.partial(self.call_of, batch=batch, in_features=in_features, hidden=hidden)
        values = batch * (in_features + 2 * self.family.states * hidden) + weights
        flops = 2 * batch * rows * (in_features + hidden)
        return BenchCase(f"B{batch}-I{in_features}-H{hidden}", make, flops, 4 * values, quick)

    def length(self, call: Call) -> int:
        """The `length` of a spec: terms of the longest sum."""
        return max(call.args[2].shape[0], call.args[0].shape[0], 1)

    def spec(self, samples: Sequence[Sample] = (), errors: Sequence[ErrorSample] = ()) -> OpSpec:
        """The spec with the op's own samples and errors besides those of any cell."""
        return OpSpec(
            name=f"{self.family.name}_cell",
            function=self.cell,
            stock=functools.partial(self.cell, backend="torch"),
            samples=[
                self.shaped("B3-I2-H4", 3, 2, 4),
                self.shaped("B17-I33-H70", 17, 33, 70),
                self.shaped("B1-I4-H19-nobias", 1, 4, 19, False, False),
                self.shaped("B0-I3-H4", 0, 3, 4),
                Sample("strided", self.strided),
                *samples,
            ],
            errors=[*self.errors(), *errors],
            bench=[
                self.bench(32, 128, 256, quick=True),
                self.bench(1, 128, 256),
                self.bench(64, 256, 512),
                self.bench(4, 32, 64),
            ],
            length=self.length,
        )
