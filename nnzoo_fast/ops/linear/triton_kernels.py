"""`linear` in Triton: one tiled product with strides for every transpose, activation and bias in its epilogue."""

import torch
import triton
import triton.language as tl

from nnzoo_fast.activations import ACTIVATION_CODES, NEEDS_PREACTIVATION, kept_of
from nnzoo_fast.ops.linear.outputs import allocate
from nnzoo_fast.triton_common import AheadOfTime, compute_type, dot, precision, sigmoid, tanh

NONE = tl.constexpr(ACTIVATION_CODES["none"])
RELU = tl.constexpr(ACTIVATION_CODES["relu"])
GELU = tl.constexpr(ACTIVATION_CODES["gelu"])
GELU_TANH = tl.constexpr(ACTIVATION_CODES["gelu_tanh"])
SILU = tl.constexpr(ACTIVATION_CODES["silu"])
TANH = tl.constexpr(ACTIVATION_CODES["tanh"])

SQRT_HALF = tl.constexpr(0.7071067811865476)
SQRT_TWO_OVER_PI = tl.constexpr(0.7978845608028654)
INVERSE_SQRT_TWO_PI = tl.constexpr(0.3989422804014327)
GELU_CUBIC = tl.constexpr(0.044715)


@triton.jit
def activate(x, ACTIVATION: tl.constexpr):
    if ACTIVATION == RELU:
        return tl.where(x != x, x, tl.maximum(x, 0.0))
    elif ACTIVATION == GELU:
        return 0.5 * x * (1 + tl.erf(x * SQRT_HALF))
    elif ACTIVATION == GELU_TANH:
        return 0.5 * x * (1 + tanh((x + x * x * x * GELU_CUBIC) * SQRT_TWO_OVER_PI))
    elif ACTIVATION == SILU:
        return x * sigmoid(x)
    elif ACTIVATION == TANH:
        return tanh(x)
    elif ACTIVATION == NONE:
        return x
    else:
        return sigmoid(x)


@triton.jit
def slope(kept, ACTIVATION: tl.constexpr):
    """The activation's derivative, from the output (relu, tanh, sigmoid) or the pre-activation (gelu, silu)."""
    if ACTIVATION == RELU:
        return tl.where(kept <= 0, 0.0, 1.0)  # a NaN lets the gradient through, as in torch
    elif ACTIVATION == GELU:
        density = tl.exp(-0.5 * kept * kept) * INVERSE_SQRT_TWO_PI
        return 0.5 * (1 + tl.erf(kept * SQRT_HALF)) + kept * density
    elif ACTIVATION == GELU_TANH:
        t = tanh((kept + kept * kept * kept * GELU_CUBIC) * SQRT_TWO_OVER_PI)
        inner = (1 + kept * kept * 3 * GELU_CUBIC) * SQRT_TWO_OVER_PI
        return 0.5 * (1 + t) + 0.5 * kept * (1 - t * t) * inner
    elif ACTIVATION == SILU:
        s = sigmoid(kept)
        return s * (1 + kept * (1 - s))
    elif ACTIVATION == TANH:
        return 1 - kept * kept
    else:
        return kept * (1 - kept)


@triton.jit
def matmul_kernel(
    a, b, bias, residual, out, kept,
    M, N, K,
    a_row, a_col, b_row, b_col, residual_row, residual_col,
    ACTIVATION: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_RESIDUAL: tl.constexpr,
    KEEP_ARGUMENT: tl.constexpr, KEEP_RESULT: tl.constexpr,
    ACCUMULATOR: tl.constexpr, PRECISION: tl.constexpr,
    TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr,
):  # fmt: skip
    """out [M, N] = activation(a [M, K] @ b [K, N] + bias [N]) + residual [M, N], out and kept contiguous."""
    rows = tl.program_id(0) * TILE_M + tl.arange(0, TILE_M)
    columns = tl.program_id(1) * TILE_N + tl.arange(0, TILE_N)
    inner = tl.arange(0, TILE_K)
    a_tile = a + rows[:, None].to(tl.int64) * a_row + inner[None, :] * a_col
    b_tile = b + inner[:, None].to(tl.int64) * b_row + columns[None, :].to(tl.int64) * b_col
    sum = tl.zeros((TILE_M, TILE_N), dtype=ACCUMULATOR)
    for start in range(0, K, TILE_K):
        inside = inner < K - start
        a_values = tl.load(a_tile, mask=(rows[:, None] < M) & inside[None, :], other=0.0)
        b_values = tl.load(b_tile, mask=inside[:, None] & (columns[None, :] < N), other=0.0)
        sum = dot(a_values, b_values, sum, PRECISION)
        a_tile += TILE_K * a_col
        b_tile += TILE_K * b_row
    if HAS_BIAS:
        sum += tl.load(bias + columns, mask=columns < N, other=0.0).to(ACCUMULATOR)[None, :]
    place = rows[:, None].to(tl.int64) * N + columns[None, :]
    within = (rows[:, None] < M) & (columns[None, :] < N)
    if KEEP_ARGUMENT:
        tl.store(kept + place, sum, mask=within)
    sum = activate(sum, ACTIVATION)
    if KEEP_RESULT:
        tl.store(kept + place, sum, mask=within)
    if HAS_RESIDUAL:
        added = residual + rows[:, None].to(tl.int64) * residual_row + columns[None, :].to(tl.int64) * residual_col
        sum += tl.load(added, mask=within, other=0.0).to(ACCUMULATOR)
    tl.store(out + place, sum, mask=within)


@triton.jit
def activation_gradient_kernel(
    grad, kept, out, M, N, grad_row, grad_col,
    ACTIVATION: tl.constexpr, COMPUTE: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """out [M, N] = grad * activation'(kept), one row and TILE columns per program."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * TILE + tl.arange(0, TILE)
    within = columns < N
    value = tl.load(grad + row * grad_row + columns * grad_col, mask=within, other=0.0).to(COMPUTE)
    value *= slope(tl.load(kept + row * N + columns, mask=within, other=0.0).to(COMPUTE), ACTIVATION)
    tl.store(out + row * N + columns, value, mask=within)


@triton.jit
def column_sum_kernel(
    grad, out, M, N, grad_row, grad_col,
    COMPUTE: tl.constexpr, TILE_M: tl.constexpr, TILE_N: tl.constexpr,
):  # fmt: skip
    """out [N] = sum of grad [M, N] over its rows, always in the same order."""
    columns = tl.program_id(0) * TILE_N + tl.arange(0, TILE_N)
    sum = tl.zeros((TILE_M, TILE_N), dtype=COMPUTE)
    for start in range(0, M, TILE_M):
        rows = start + tl.arange(0, TILE_M)
        place = rows[:, None].to(tl.int64) * grad_row + columns[None, :] * grad_col
        sum += tl.load(grad + place, mask=(rows[:, None] < M) & (columns[None, :] < N), other=0.0).to(COMPUTE)
    tl.store(out + columns, tl.sum(sum, 0), mask=columns < N)


def product(a, b, out, bias=None, activation="none", kept=None, residual=None) -> None:
    """out = activation(a @ b + bias) + residual for a [M, K], b [K, N] and residual [M, N] of any strides."""
    (rows, inner), columns = a.shape, b.shape[1]
    if rows == 0 or columns == 0:
        return
    double = a.dtype == torch.float64
    tile_m, tile_n, tile_k = (32, 32, 16) if double else (64, 64, 32)
    matmul_kernel[(triton.cdiv(rows, tile_m), triton.cdiv(columns, tile_n))](
        a, b, bias, residual, out, kept,
        rows, columns, inner,
        a.stride(0), a.stride(1), b.stride(0), b.stride(1), *((0, 0) if residual is None else residual.stride()),
        ACTIVATION=ACTIVATION_CODES[activation], HAS_BIAS=bias is not None, HAS_RESIDUAL=residual is not None,
        KEEP_ARGUMENT=kept is not None and activation in NEEDS_PREACTIVATION,
        KEEP_RESULT=kept is not None and activation not in NEEDS_PREACTIVATION,
        ACCUMULATOR=compute_type(a.dtype), PRECISION=precision(a.dtype),
        TILE_M=tile_m, TILE_N=tile_n, TILE_K=tile_k,
    )  # fmt: skip


def forward(input, weight, bias, activation, residual, training):
    output, kept = allocate(input, weight, bias, activation, residual, training)
    rows = input.reshape(input.shape[:-1].numel(), weight.shape[1])
    bias = None if bias is None else bias.contiguous()
    added = None if residual is None else residual.reshape(rows.shape[0], weight.shape[0])
    product(rows, weight.t(), output, bias, activation, kept, added)
    return output, kept


def backward(grads, args, outputs, needs):
    input, weight, bias, activation, residual = args
    needs_input, needs_weight, needs_bias, needs_residual = needs
    grad = grads[0].reshape(-1, weight.shape[0])
    if activation != "none":
        grad = activation_gradient(grad, kept_of(outputs, activation, residual is not None), activation)
    grad_input = grad_weight = grad_bias = None
    if needs_input:
        grad_input = grad.new_empty(input.shape)
        product(grad, weight, grad_input)
    if needs_weight:
        grad_weight = grad.new_empty(weight.shape)
        product(grad.t(), input.reshape(grad.shape[0], weight.shape[1]), grad_weight)
    if needs_bias:
        grad_bias = column_sum(grad)
    return grad_input, grad_weight, grad_bias, grads[0] if needs_residual else None


def activation_gradient(grad, kept, activation):
    """grad [M, N] * activation'(.) of `kept` [M, N], contiguous."""
    rows, columns = grad.shape
    result = grad.new_empty(grad.shape)
    tile = 1024
    if grad.numel():
        activation_gradient_kernel[(rows, triton.cdiv(columns, tile))](
            grad, kept, result, rows, columns, grad.stride(0), grad.stride(1),
            ACTIVATION=ACTIVATION_CODES[activation], COMPUTE=compute_type(grad.dtype), TILE=tile,
        )  # fmt: skip
    return result


def column_sum(grad):
    rows, columns = grad.shape
    result = grad.new_empty(columns)
    tile_m, tile_n = 32, 64
    if columns:
        column_sum_kernel[(triton.cdiv(columns, tile_n),)](
            grad, result, rows, columns, grad.stride(0), grad.stride(1),
            COMPUTE=compute_type(grad.dtype), TILE_M=tile_m, TILE_N=tile_n,
        )  # fmt: skip
    return result


def ahead_of_time() -> list[AheadOfTime]:
    """What compiles for a GPU that isn't there."""
    cases = []
    for kind in ("bf16", "fp16", "fp32"):
        pointer = f"*{kind}"
        cases.append(
            AheadOfTime(
                matmul_kernel,
                dict.fromkeys(("a", "b", "bias", "residual", "out", "kept"), pointer)
                | dict.fromkeys(("M", "N", "K"), "i32")
                | dict.fromkeys(("a_row", "a_col", "b_row", "b_col", "residual_row", "residual_col"), "i32"),
                dict(
                    ACTIVATION=ACTIVATION_CODES["gelu"], HAS_BIAS=True, HAS_RESIDUAL=True, KEEP_ARGUMENT=True,
                    KEEP_RESULT=False, ACCUMULATOR=tl.float32, PRECISION="ieee", TILE_M=64, TILE_N=64, TILE_K=32,
                ),
            )
        )  # fmt: skip
        shape = dict(M="i32", N="i32", grad_row="i32", grad_col="i32")
        cases.append(
            AheadOfTime(
                activation_gradient_kernel,
                dict(grad=pointer, kept=pointer, out=pointer, **shape),
                dict(ACTIVATION=ACTIVATION_CODES["gelu"], COMPUTE=tl.float32, TILE=1024),
            )
        )
        cases.append(
            AheadOfTime(
                column_sum_kernel,
                dict(grad=pointer, out=pointer, **shape),
                dict(COMPUTE=tl.float32, TILE_M=32, TILE_N=64),
            )
        )
    return cases
