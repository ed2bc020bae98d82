"""`lstm` in Triton: the input of all steps in one product, then a kernel per step that holds all four gates.

A program of the step kernel owns a tile of sequences and of cells. It multiplies h by the rows of the recurrent weight
that belong to the cells' four gates and applies these while the sums are in registers.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from nnzoo_fast.ops.linear.triton_kernels import column_sum, product
from nnzoo_fast.ops.lstm import layers
from nnzoo_fast.recurrent.family import compute_dtype
from nnzoo_fast.triton_common import (
    AheadOfTime,
    compute_type,
    differentiated_sigmoid,
    differentiated_tanh,
    dot,
    philox,
    precision,
    scaled,
    sigmoid,
    tanh,
)


@triton.jit
def step_kernel(
    h, w_hh, c, preactivations, cells, out, batch, hidden, features, h_stride, out_stride,
    KEEP: tl.constexpr, COMPUTE: tl.constexpr, PRECISION: tl.constexpr,
    TILE_B: tl.constexpr, TILE_H: tl.constexpr, TILE_K: tl.constexpr,
):  # fmt: skip
    """One step, from the input's part of the preactivations: c is updated in place, out becomes o * tanh(c);
    preactivations and cells are kept for backward."""
    rows = tl.program_id(0) * TILE_B + tl.arange(0, TILE_B)
    units = tl.program_id(1) * TILE_H + tl.arange(0, TILE_H)
    lane = tl.arange(0, TILE_K)
    inside = (rows < batch)[:, None] & (units < hidden)[None, :]
    at = rows.to(tl.int64)[:, None] * 4 * hidden + units[None, :]
    i = tl.load(preactivations + at, mask=inside, other=0.0).to(COMPUTE)
    f = tl.load(preactivations + at + hidden, mask=inside, other=0.0).to(COMPUTE)
    g = tl.load(preactivations + at + 2 * hidden, mask=inside, other=0.0).to(COMPUTE)
    o = tl.load(preactivations + at + 3 * hidden, mask=inside, other=0.0).to(COMPUTE)
    for start in range(0, features, TILE_K):
        k = start + lane
        state = h + rows.to(tl.int64)[:, None] * h_stride + k[None, :]
        state = tl.load(state, mask=(rows < batch)[:, None] & (k < features)[None, :], other=0.0)
        there = (k < features)[:, None] & (units < hidden)[None, :]
        weight = w_hh + units[None, :] * features + k[:, None]
        gate = hidden * features
        i = dot(state, tl.load(weight, mask=there, other=0.0), i, PRECISION)
        f = dot(state, tl.load(weight + gate, mask=there, other=0.0), f, PRECISION)
        g = dot(state, tl.load(weight + 2 * gate, mask=there, other=0.0), g, PRECISION)
        o = dot(state, tl.load(weight + 3 * gate, mask=there, other=0.0), o, PRECISION)
    cell = c + rows.to(tl.int64)[:, None] * hidden + units[None, :]
    value = sigmoid(f) * tl.load(cell, mask=inside, other=0.0) + sigmoid(i) * tanh(g)
    tl.store(cell, value, mask=inside)
    tl.store(out + rows.to(tl.int64)[:, None] * out_stride + units[None, :], sigmoid(o) * tanh(value), mask=inside)
    if KEEP:
        tl.store(preactivations + at, i, mask=inside)
        tl.store(preactivations + at + hidden, f, mask=inside)
        tl.store(preactivations + at + 2 * hidden, g, mask=inside)
        tl.store(preactivations + at + 3 * hidden, o, mask=inside)
        tl.store(cells + rows.to(tl.int64)[:, None] * hidden + units[None, :], value, mask=inside)


@triton.jit
def step_gradient_kernel(preactivations, cells, before, grad_m, grad_c, deltas, hidden, TILE: tl.constexpr):
    """From the gradients of m = o * tanh(c) and c to those of the preactivations and, in place, of the c before."""
    row = tl.program_id(0).to(tl.int64)
    units = tl.program_id(1) * TILE + tl.arange(0, TILE)
    inside = units < hidden
    at, wide = row * hidden + units, row * 4 * hidden + units
    i, slope_i = differentiated_sigmoid(tl.load(preactivations + wide, mask=inside, other=0.0))
    f, slope_f = differentiated_sigmoid(tl.load(preactivations + wide + hidden, mask=inside, other=0.0))
    g, slope_g = differentiated_tanh(tl.load(preactivations + wide + 2 * hidden, mask=inside, other=0.0))
    o, slope_o = differentiated_sigmoid(tl.load(preactivations + wide + 3 * hidden, mask=inside, other=0.0))
    squashed, slope = differentiated_tanh(tl.load(cells + at, mask=inside, other=0.0))
    of_m = tl.load(grad_m + at, mask=inside, other=0.0)
    of_c = tl.load(grad_c + at, mask=inside, other=0.0) + of_m * o * slope
    tl.store(deltas + wide, of_c * g * slope_i, mask=inside)
    tl.store(deltas + wide + hidden, of_c * tl.load(before + at, mask=inside, other=0.0) * slope_f, mask=inside)
    tl.store(deltas + wide + 2 * hidden, of_c * i * slope_g, mask=inside)
    tl.store(deltas + wide + 3 * hidden, of_m * squashed * slope_o, mask=inside)
    tl.store(grad_c + at, of_c * f, mask=inside)


@triton.jit
def dropout_kernel(
    tensor, into, seed, count, first, scale: tl.float64, threshold, COMPUTE: tl.constexpr, TILE: tl.constexpr
):
    place = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    kept = philox(tl.load(seed), first + place) >= threshold
    value = tl.load(tensor + place, mask=place < count, other=0.0).to(COMPUTE)
    tl.store(into + place, tl.where(kept, scaled(value, scale), 0.0), mask=place < count)


class Direction(layers.Direction):
    def rows_of_steps(self) -> list[slice]:
        """Where each step's rows lie, in running order."""
        slices, start = [], 0
        for size in self.sizes:
            slices.append(slice(start, start + size))
            start += size
        return slices[::-1] if self.reverse else slices

    def rows_before(self) -> list[tuple[slice, slice | None]]:
        """Each step's rows, in running order, with those of the step that ran before it."""
        running = self.rows_of_steps()
        return list(zip(running, [None, *running[:-1]], strict=True))

    def before(self, values: torch.Tensor, initial: torch.Tensor) -> torch.Tensor:
        """What stood one step before each row: in `values` [rows, *]; at a first step, in `initial` [batch, *]."""
        result = torch.empty((self.rows, values.shape[1]), dtype=values.dtype, device=values.device)
        for rows, earlier in self.rows_before():
            size = rows.stop - rows.start
            known = 0 if earlier is None else min(size, earlier.stop - earlier.start)
            if known:
                result[rows.start : rows.start + known] = values[earlier.start : earlier.start + known]
            result[rows.start + known : rows.stop] = initial[known:size]
        return result

    def forward(self, input, h0, c0, output, h_n, c_n, preactivations, cells) -> None:
        own, sums = self.weights, compute_dtype(self.dtype)
        hidden, features = own.hidden_size, own.out_features
        keep = preactivations is not None
        kept = (
            preactivations.view(self.rows, 4 * hidden) if keep else input.new_empty((self.rows, 4 * hidden), dtype=sums)
        )
        biases = [bias.to(sums) for bias in (own.b_ih, own.b_hh) if bias is not None]
        bias = sum(biases) if biases else None
        product(input.view(self.rows, own.w_ih.shape[1]), own.w_ih.t(), kept, bias)
        h = self.state(h0, features, input, self.dtype)
        c = self.state(c0, hidden, input, sums)
        for rows in self.rows_of_steps():
            size = rows.stop - rows.start
            m = output[rows] if own.w_hr is None else input.new_empty((size, hidden))
            grid = (triton.cdiv(size, 16), triton.cdiv(hidden, 32))
            if size:
                step_kernel[grid](
                    h, own.w_hh, c, kept[rows], cells.view(self.rows, hidden)[rows] if keep else c, m,
                    size, hidden, features, h.stride(0), m.stride(0),
                    KEEP=keep, COMPUTE=compute_type(self.dtype), PRECISION=precision(self.dtype),
                    TILE_B=16, TILE_H=32, TILE_K=32,
                )  # fmt: skip
            if own.w_hr is not None:
                projected = input.new_empty((size, features))
                product(m, own.w_hr.t(), projected)
                output[rows] = projected
            h[:size] = output[rows]
        if h_n is not None:
            h_n.copy_(h)
        c_n.copy_(c)

    def backward(
        self, input, h0, c0, output, preactivations, cells, grad_output, grad_h_n, grad_c_n, into, add
    ) -> None:
        own, sums = self.weights, cells.dtype
        hidden, features = own.hidden_size, own.out_features
        kept, cells = preactivations.view(self.rows, 4 * hidden), cells.view(self.rows, hidden)
        before = self.before(cells, self.state(c0, hidden, cells, sums))
        grad_h = self.state(grad_h_n, features, cells, sums)
        grad_c = self.state(grad_c_n, hidden, cells, sums)
        deltas = torch.empty_like(kept)
        grad_rows = torch.empty((self.rows, features), dtype=sums, device=cells.device)
        w_hh, w_hr = own.w_hh.to(sums), None if own.w_hr is None else own.w_hr.to(sums)
        for rows in reversed(self.rows_of_steps()):
            size = rows.stop - rows.start
            grad_rows[rows] = grad_h[:size] + grad_output[rows]
            grad_m = grad_rows[rows]
            if w_hr is not None:
                grad_m = cells.new_empty((size, hidden))
                product(grad_rows[rows], w_hr, grad_m)
            if size:
                step_gradient_kernel[(size, triton.cdiv(hidden, 128))](
                    kept[rows], cells[rows], before[rows], grad_m, grad_c, deltas[rows], hidden, TILE=128
                )
            product(deltas[rows], w_hh, grad_h[:size])
        grad_input, *of_weights, grad_h0, grad_c0 = into
        self.weight_gradients(of_weights, input, output, h0, kept, cells, deltas, grad_rows)
        if grad_input is not None:
            target = torch.empty_like(grad_input) if add else grad_input
            product(deltas, own.w_ih.to(sums), target)
            if add:
                grad_input += target
        if grad_h0 is not None:
            grad_h0.copy_(grad_h)
        if grad_c0 is not None:
            grad_c0.copy_(grad_c)

    def weight_gradients(self, into, input, output, h0, kept, cells, deltas, grad_rows) -> None:
        """One product over all steps for each weight."""
        w_ih, w_hh, bias, w_hr = into
        hidden, features, sums = self.weights.hidden_size, self.weights.out_features, cells.dtype
        if w_ih is not None:
            product(deltas.t(), input.view(self.rows, self.weights.w_ih.shape[1]).to(sums), w_ih)
        if w_hh is not None:
            product(deltas.t(), self.before(output.to(sums), self.state(h0, features, cells, sums)), w_hh)
        if bias is not None:
            bias.copy_(column_sum(deltas))
        if w_hr is not None:
            product(grad_rows.t(), kept[:, 3 * hidden :].sigmoid() * cells.tanh(), w_hr)

    @staticmethod
    def drop(tensor, into, layer, seed, probability) -> torch.Tensor:
        count = tensor.numel()
        scale = 1 / (1 - probability) if probability < 1 else 0.0
        if count:
            dropout_kernel[(triton.cdiv(count, 1024),)](
                tensor,
                into,
                seed,
                count,
                (layer - 1) * count,
                scale,
                int(probability * 2**32),
                COMPUTE=compute_type(tensor.dtype),
                TILE=1024,
            )
        return into


forward, backward = layers.forward_by(Direction), layers.backward_by(Direction)


def ahead_of_time() -> list[AheadOfTime]:
    """What compiles for a GPU that isn't there."""
    cases = [
        AheadOfTime(
            step_gradient_kernel,
            dict(
                **dict.fromkeys(("preactivations", "cells", "before", "grad_m", "grad_c", "deltas"), "*fp32"),
                hidden="i32",
            ),
            dict(TILE=128),
        )
    ]
    for kind in ("bf16", "fp16", "fp32"):
        pointer = f"*{kind}"
        kept = dict.fromkeys(("c", "preactivations", "cells"), "*fp32")
        sizes = dict.fromkeys(("batch", "hidden", "features", "h_stride", "out_stride"), "i32")
        cases.append(
            AheadOfTime(
                step_kernel,
                dict(h=pointer, w_hh=pointer, **kept, out=pointer, **sizes),
                dict(KEEP=True, COMPUTE=tl.float32, PRECISION="ieee", TILE_B=16, TILE_H=32, TILE_K=32),
            )
        )
        cases.append(
            AheadOfTime(
                dropout_kernel,
                dict(
                    tensor=pointer, into=pointer, seed="*i64", count="i64", first="i64", scale="fp64", threshold="i64"
                ),
                dict(COMPUTE=tl.float32, TILE=1024),
            )
        )
    return cases
