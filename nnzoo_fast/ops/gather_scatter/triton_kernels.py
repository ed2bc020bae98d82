"""`gather_scatter` in Triton: a program owns a row of the result and walks its edges in blocks, so results repeat.

Forward walks a target's incoming edges; the gradient of x walks a source's outgoing ones, so that nothing is added up
with atomics. No message is stored.
"""

import math

import torch
import triton
import triton.language as tl

from nnzoo_fast.ops.gather_scatter import allocate
from nnzoo_fast.ops.gather_scatter.cpu import heads_of, rows_of
from nnzoo_fast.triton_common import AheadOfTime, compute_type

SUM, MEAN, MAX, MIN = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2), tl.constexpr(3)
CODES = {"sum": 0, "mean": 1, "max": 2, "min": 3}


@triton.jit
def edges_at(node, edge, first, last, TILE_E: tl.constexpr):
    """The far nodes and the edges at positions first .. first + TILE_E, and which of these are there."""
    position = first + tl.arange(0, TILE_E)
    there = position < last
    nodes = tl.load(node + position, mask=there, other=0).to(tl.int64)
    return nodes, tl.load(edge + position, mask=there, other=0).to(tl.int64), there


@triton.jit
def rows_at(rows, nodes, features, stride, inside):
    """[edges, features]: a row of `rows` for each edge."""
    return tl.load(rows + nodes[:, None] * stride + features[None, :], mask=inside, other=0.0)


@triton.jit
def messages_at(
    x, weight, nodes, edges, features, inside, x_stride, heads, span, HAS_WEIGHT: tl.constexpr, COMPUTE: tl.constexpr
):
    """What edges bring, [edges, features]."""
    values = rows_at(x, nodes, features, x_stride, inside).to(COMPUTE)
    if HAS_WEIGHT:
        values *= rows_at(weight, edges, features // span, heads, inside).to(COMPUTE)
    return values


@triton.jit
def forward_kernel(
    x, weight, start, node, edge, out, num_features, x_stride, heads, span,
    REDUCE: tl.constexpr, HAS_WEIGHT: tl.constexpr, COMPUTE: tl.constexpr,
    TILE_E: tl.constexpr, TILE_F: tl.constexpr,
):  # fmt: skip
    """out[i] for one target i and TILE_F features."""
    row = tl.program_id(0)
    features = tl.program_id(1) * TILE_F + tl.arange(0, TILE_F)
    first, last = tl.load(start + row), tl.load(start + row + 1)
    result = tl.zeros((TILE_F,), dtype=COMPUTE)
    if REDUCE == MAX:
        result += float("-inf")
    if REDUCE == MIN:
        result += float("inf")
    unknown = tl.zeros((TILE_F,), dtype=tl.int32)
    for position in range(first, last, TILE_E):
        nodes, edges, there = edges_at(node, edge, position, last, TILE_E)
        inside = there[:, None] & (features < num_features)[None, :]
        values = messages_at(x, weight, nodes, edges, features, inside, x_stride, heads, span, HAS_WEIGHT, COMPUTE)
        if REDUCE == SUM or REDUCE == MEAN:
            result += tl.sum(values, 0)
        else:
            # Compared as they would be stored, so that a tie is a tie between stored values; NaN wins.
            values = values.to(out.dtype.element_ty).to(COMPUTE)
            unknown = tl.maximum(unknown, tl.max((values != values).to(tl.int32), 0))
            if REDUCE == MAX:
                result = tl.maximum(result, tl.max(tl.where(inside, values, float("-inf")), 0))
            else:
                result = tl.minimum(result, tl.min(tl.where(inside, values, float("inf")), 0))
    if REDUCE == MEAN:
        result /= tl.maximum(last - first, 1).to(COMPUTE)
    result = tl.where(unknown > 0, float("nan"), result)
    result = tl.where(last > first, result, 0.0)
    tl.store(out + row.to(tl.int64) * num_features + features, result, mask=features < num_features)


@triton.jit
def share_kernel(
    x, weight, start, node, edge, out, grad, share, num_features, x_stride, heads, span,
    REDUCE: tl.constexpr, HAS_WEIGHT: tl.constexpr, COMPUTE: tl.constexpr,
    TILE_E: tl.constexpr, TILE_F: tl.constexpr,
):  # fmt: skip
    """share[i]: the gradient that each of a target's messages gets, if (for max and min) it is one of the best."""
    row = tl.program_id(0)
    features = tl.program_id(1) * TILE_F + tl.arange(0, TILE_F)
    at = row.to(tl.int64) * num_features + features
    first, last = tl.load(start + row), tl.load(start + row + 1)
    count = tl.zeros((TILE_F,), dtype=COMPUTE)
    if REDUCE == MEAN:
        count += (last - first).to(COMPUTE)
    elif REDUCE == SUM:
        count += 1
    else:
        best = tl.load(out + at, mask=features < num_features, other=0.0)
        for position in range(first, last, TILE_E):
            nodes, edges, there = edges_at(node, edge, position, last, TILE_E)
            inside = there[:, None] & (features < num_features)[None, :]
            values = messages_at(x, weight, nodes, edges, features, inside, x_stride, heads, span, HAS_WEIGHT, COMPUTE)
            equal = (values.to(best.dtype).to(COMPUTE) == best.to(COMPUTE)[None, :]) & inside
            count += tl.sum(equal.to(COMPUTE), 0)
    value = tl.load(grad + at, mask=features < num_features, other=0.0).to(COMPUTE)
    shared = tl.where(count > 0, value / tl.where(count > 0, count, 1.0), 0.0)
    tl.store(share + at, shared, mask=features < num_features)


@triton.jit
def passed_back(
    x, weight, out, share, sources, targets, edges, features, inside, num_features, x_stride, heads, span,
    REDUCE: tl.constexpr, HAS_WEIGHT: tl.constexpr, COMPUTE: tl.constexpr,
):  # fmt: skip
    """The gradient of the messages on some edges, [edges, features]."""
    values = rows_at(share, targets, features, num_features, inside)
    if REDUCE == MAX or REDUCE == MIN:
        sent = messages_at(x, weight, sources, edges, features, inside, x_stride, heads, span, HAS_WEIGHT, COMPUTE)
        best = rows_at(out, targets, features, num_features, inside)
        values = tl.where(sent.to(best.dtype).to(COMPUTE) == best.to(COMPUTE), values, 0.0)
    return values


@triton.jit
def grad_x_kernel(
    x, weight, start, node, edge, out, share, grad_x, num_features, x_stride, heads, span,
    REDUCE: tl.constexpr, HAS_WEIGHT: tl.constexpr, COMPUTE: tl.constexpr,
    TILE_E: tl.constexpr, TILE_F: tl.constexpr,
):  # fmt: skip
    """Adds to grad_x[j], for one source j, what its targets pass back. Edges are grouped by source here."""
    row = tl.program_id(0)
    features = tl.program_id(1) * TILE_F + tl.arange(0, TILE_F)
    first, last = tl.load(start + row), tl.load(start + row + 1)
    result = tl.zeros((TILE_F,), dtype=COMPUTE)
    for position in range(first, last, TILE_E):
        targets, edges, there = edges_at(node, edge, position, last, TILE_E)
        inside = there[:, None] & (features < num_features)[None, :]
        values = passed_back(
            x, weight, out, share, targets * 0 + row, targets, edges, features, inside, num_features, x_stride, heads,
            span, REDUCE, HAS_WEIGHT, COMPUTE,
        )  # fmt: skip
        if HAS_WEIGHT:
            values *= rows_at(weight, edges, features // span, heads, inside).to(COMPUTE)
        result += tl.sum(values, 0)
    to = grad_x + row.to(tl.int64) * num_features + features
    tl.store(to, tl.load(to, mask=features < num_features, other=0.0) + result, mask=features < num_features)


@triton.jit
def grad_weight_kernel(
    x, weight, start, node, edge, out, share, grad_weight, num_features, x_stride, heads, span,
    REDUCE: tl.constexpr, COMPUTE: tl.constexpr, TILE_E: tl.constexpr, TILE_F: tl.constexpr,
):  # fmt: skip
    """Adds to grad_weight of one target's incoming edges and one head: x[j] times what the target passes back."""
    row, head = tl.program_id(0), tl.program_id(1)
    first, last = tl.load(start + row), tl.load(start + row + 1)
    for position in range(first, last, TILE_E):
        sources, edges, there = edges_at(node, edge, position, last, TILE_E)
        result = tl.zeros((TILE_E,), dtype=COMPUTE)
        for offset in range(0, span, TILE_F):
            lane = offset + tl.arange(0, TILE_F)
            features = head * span + lane
            inside = there[:, None] & (lane < span)[None, :]
            values = passed_back(
                x, weight, out, share, sources, sources * 0 + row, edges, features, inside, num_features, x_stride,
                heads, span, REDUCE, True, COMPUTE,
            )  # fmt: skip
            result += tl.sum(values * rows_at(x, sources, features, x_stride, inside).to(COMPUTE), 1)
        to = grad_weight + edges * heads + head
        tl.store(to, tl.load(to, mask=there, other=0.0) + result, mask=there)


class Layout:
    """A call as the kernels see it."""

    def __init__(self, x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce):
        self.x = rows_of(x)
        self.weight = None if edge_weight is None else edge_weight.contiguous()
        self.incoming, self.outgoing = (in_start, in_source, in_edge), (out_start, out_target, out_edge)
        self.names = reduce.split(",")
        self.num_targets, self.num_sources = in_start.shape[0] - 1, x.shape[0]
        self.features = math.prod(x.shape[1:])
        self.heads = 1 if edge_weight is None else heads_of(x, edge_weight)
        self.span = self.features // max(self.heads, 1)
        self.sizes = (self.features, self.x.stride(0), self.heads, self.span)
        self.tile = min(128, triton.next_power_of_2(max(self.features, 16)))
        self.tiles = triton.cdiv(self.features, self.tile)
        self.constants = dict(COMPUTE=compute_type(x.dtype), TILE_E=16, TILE_F=self.tile)

    @property
    def weighted(self) -> bool:
        return self.weight is not None


def forward(*args):
    *args, training = args
    (out,) = allocate(*args, training)
    call = Layout(*args)
    if out.numel() == 0:
        return (out,)
    for name, result in zip(call.names, out.view(len(call.names), call.num_targets, call.features), strict=True):
        forward_kernel[(call.num_targets, call.tiles)](
            call.x, call.weight, *call.incoming, result, *call.sizes,
            REDUCE=CODES[name], HAS_WEIGHT=call.weighted, **call.constants,
        )  # fmt: skip
    return (out,)


def backward(grads, args, outputs, needs):
    needs_x, needs_weight = needs[:2]
    x, edge_weight = args[:2]
    call = Layout(*args)
    sums = torch.float64 if x.dtype == torch.float64 else torch.float32
    # Several reductions add up, so what they add up to is kept in the compute type.
    grad_x = x.new_zeros((call.num_sources, call.features), dtype=sums) if needs_x else None
    grad_weight = x.new_zeros(edge_weight.shape, dtype=sums) if needs_weight else None
    shape = (len(call.names), call.num_targets, call.features)
    if call.features and call.num_targets and call.num_sources:
        outs = [None] * len(call.names) if outputs[0] is None else outputs[0].view(shape)
        for name, grad, out in zip(call.names, grads[0].contiguous().view(shape), outs, strict=True):
            one_reduction(call, name, grad, out, grad_x, grad_weight, sums)
    return (
        None if grad_x is None else grad_x.view(x.shape).to(x.dtype),
        None if grad_weight is None else grad_weight.to(x.dtype),
        *(None,) * (len(needs) - 2),
    )


def one_reduction(call, name, grad, out, grad_x, grad_weight, sums) -> None:
    """Adds what one reduction passes back to `grad_x` and `grad_weight`."""
    code = CODES[name]
    share = torch.empty_like(grad, dtype=sums)
    share_kernel[(call.num_targets, call.tiles)](
        call.x, call.weight, *call.incoming, out, grad, share, *call.sizes,
        REDUCE=code, HAS_WEIGHT=call.weighted, **call.constants,
    )  # fmt: skip
    if grad_x is not None:
        grad_x_kernel[(call.num_sources, call.tiles)](
            call.x, call.weight, *call.outgoing, out, share, grad_x, *call.sizes,
            REDUCE=code, HAS_WEIGHT=call.weighted, **call.constants,
        )  # fmt: skip
    if grad_weight is not None:
        grad_weight_kernel[(call.num_targets, call.heads)](
            call.x, call.weight, *call.incoming, out, share, grad_weight, *call.sizes,
            REDUCE=code, **call.constants,
        )  # fmt: skip


def ahead_of_time() -> list[AheadOfTime]:
    """What compiles for a GPU that isn't there."""
    sizes = dict(num_features="i32", x_stride="i32", heads="i32", span="i32")
    edges = dict(start="*i32", node="*i32", edge="*i32")
    cases = []
    for kind in ("bf16", "fp16", "fp32"):
        pointer = f"*{kind}"
        values = dict(x=pointer, weight=pointer, **edges, out=pointer)
        constants = dict(REDUCE=2, HAS_WEIGHT=True, COMPUTE=tl.float32, TILE_E=16, TILE_F=128)
        cases += [
            AheadOfTime(forward_kernel, dict(**values, **sizes), constants),
            AheadOfTime(share_kernel, dict(**values, grad=pointer, share="*fp32", **sizes), constants),
            AheadOfTime(grad_x_kernel, dict(**values, share="*fp32", grad_x="*fp32", **sizes), constants),
            AheadOfTime(
                grad_weight_kernel,
                dict(**values, share="*fp32", grad_weight="*fp32", **sizes),
                dict(REDUCE=2, COMPUTE=tl.float32, TILE_E=16, TILE_F=128),
            ),
        ]
    return cases
