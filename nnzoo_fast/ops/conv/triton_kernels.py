"""`conv` in Triton: implicit GEMM. The im2col matrix is never written: each tile of it is gathered as it is used.

All three products walk the same geometry, given by where output pixel `o` and tap `k` of the kernel meet the input:
`i = o * stride - padding + k * dilation`, in three dimensions (fewer are padded with sizes of 1).
"""

import torch
import triton
import triton.language as tl

from nnzoo_fast.activations import ACTIVATION_CODES
from nnzoo_fast.ops.conv.cpu import numbers_of, strides_of
from nnzoo_fast.ops.conv.outputs import allocate, through_activation
from nnzoo_fast.ops.linear.triton_kernels import activate, activation_gradient
from nnzoo_fast.triton_common import AheadOfTime, compute_type, dot, precision

SHAPE = (
    "batch", "in_channels", "out_channels", "groups",
    "in_z", "in_y", "in_x", "taps_z", "taps_y", "taps_x", "out_z", "out_y", "out_x",
    "stride_z", "stride_y", "stride_x", "pad_z", "pad_y", "pad_x", "gap_z", "gap_y", "gap_x",
)  # fmt: skip
"""The numbers of `ConvShape` in csrc/ops/conv/conv.h, in its order."""


@triton.jit
def unravel(index, size_z, size_y, size_x):
    """Row-major `index` in [*, size_z, size_y, size_x] as its four coordinates."""
    x = index % size_x
    index = index // size_x
    y = index % size_y
    index = index // size_y
    return index // size_z, index % size_z, y, x


@triton.jit
def forward_kernel(
    input, weight, bias, output, preactivation,
    batch, in_channels, out_channels, groups, in_z, in_y, in_x, taps_z, taps_y, taps_x, out_z, out_y, out_x,
    stride_z, stride_y, stride_x, pad_z, pad_y, pad_x, gap_z, gap_y, gap_x,
    a_n, a_c, a_z, a_y, a_x, c_n, c_c, c_z, c_y, c_x,
    HAS_BIAS: tl.constexpr, ACTIVATION: tl.constexpr, KEEP: tl.constexpr,
    ACCUMULATOR: tl.constexpr, PRECISION: tl.constexpr,
    TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr,
):  # fmt: skip
    """output: pixels x channels = activation(im2col(input) [pixels, taps] @ weight^T [taps, channels] + bias),
    one group per program; `preactivation` has output's strides."""
    group = tl.program_id(2)
    group_in, group_out = in_channels // groups, out_channels // groups
    pixels = tl.program_id(0) * TILE_M + tl.arange(0, TILE_M)
    channels = tl.program_id(1) * TILE_N + tl.arange(0, TILE_N)
    n, oz, oy, ox = unravel(pixels, out_z, out_y, out_x)
    taps = group_in * taps_z * taps_y * taps_x
    sum = tl.zeros((TILE_M, TILE_N), dtype=ACCUMULATOR)
    for start in range(0, taps, TILE_K):
        tap = start + tl.arange(0, TILE_K)
        c, kz, ky, kx = unravel(tap, taps_z, taps_y, taps_x)
        z = (oz * stride_z - pad_z)[:, None] + (kz * gap_z)[None, :]
        y = (oy * stride_y - pad_y)[:, None] + (ky * gap_y)[None, :]
        x = (ox * stride_x - pad_x)[:, None] + (kx * gap_x)[None, :]
        inside = (z >= 0) & (z < in_z) & (y >= 0) & (y < in_y) & (x >= 0) & (x < in_x)
        inside = inside & (n < batch)[:, None] & (tap < taps)[None, :]
        place = (n * a_n).to(tl.int64)[:, None] + ((group * group_in + c) * a_c)[None, :] + z * a_z + y * a_y + x * a_x
        a = tl.load(input + place, mask=inside, other=0.0)
        wanted = (tap < taps)[:, None] & (channels < group_out)[None, :]
        b = tl.load(weight + (group * group_out + channels)[None, :] * taps + tap[:, None], mask=wanted, other=0.0)
        sum = dot(a, b, sum, PRECISION)
    if HAS_BIAS:
        sum += tl.load(bias + group * group_out + channels, mask=channels < group_out, other=0.0).to(ACCUMULATOR)[
            None, :
        ]
    place = (n * c_n).to(tl.int64) + oz * c_z + oy * c_y + ox * c_x
    place = place[:, None] + ((group * group_out + channels) * c_c)[None, :]
    within = (n < batch)[:, None] & (channels < group_out)[None, :]
    if KEEP:
        tl.store(preactivation + place, sum, mask=within)
    tl.store(output + place, activate(sum, ACTIVATION), mask=within)


@triton.jit
def grad_input_kernel(
    grad, weight, grad_input,
    batch, in_channels, out_channels, groups, in_z, in_y, in_x, taps_z, taps_y, taps_x, out_z, out_y, out_x,
    stride_z, stride_y, stride_x, pad_z, pad_y, pad_x, gap_z, gap_y, gap_x,
    c_n, c_c, c_z, c_y, c_x,
    ACCUMULATOR: tl.constexpr, PRECISION: tl.constexpr,
    TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr,
):  # fmt: skip
    """grad_input [input pixels, channels] = the outputs that saw each pixel, times the taps that they saw it by."""
    group = tl.program_id(2)
    group_in, group_out = in_channels // groups, out_channels // groups
    pixels = tl.program_id(0) * TILE_M + tl.arange(0, TILE_M)
    channels = tl.program_id(1) * TILE_N + tl.arange(0, TILE_N)
    n, iz, iy, ix = unravel(pixels, in_z, in_y, in_x)
    kernel = taps_z * taps_y * taps_x
    taps = group_out * kernel
    sum = tl.zeros((TILE_M, TILE_N), dtype=ACCUMULATOR)
    for start in range(0, taps, TILE_K):
        tap = start + tl.arange(0, TILE_K)
        c, kz, ky, kx = unravel(tap, taps_z, taps_y, taps_x)
        z = (iz + pad_z)[:, None] - (kz * gap_z)[None, :]
        y = (iy + pad_y)[:, None] - (ky * gap_y)[None, :]
        x = (ix + pad_x)[:, None] - (kx * gap_x)[None, :]
        met = (z >= 0) & (y >= 0) & (x >= 0) & (z % stride_z == 0) & (y % stride_y == 0) & (x % stride_x == 0)
        z, y, x = z // stride_z, y // stride_y, x // stride_x
        met = met & (z < out_z) & (y < out_y) & (x < out_x) & (n < batch)[:, None] & (tap < taps)[None, :]
        place = (n * c_n).to(tl.int64)[:, None] + ((group * group_out + c) * c_c)[None, :] + z * c_z + y * c_y + x * c_x
        a = tl.load(grad + place, mask=met, other=0.0)
        wanted = (tap < taps)[:, None] & (channels < group_in)[None, :]
        row = (group * group_out + c)[:, None] * group_in + channels[None, :]
        b = tl.load(weight + row * kernel + (tap % kernel)[:, None], mask=wanted, other=0.0)
        sum = dot(a, b, sum, PRECISION)
    volume = in_z * in_y * in_x
    place = (n * in_channels).to(tl.int64)[:, None] + (group * group_in + channels)[None, :]
    place = place * volume + (pixels % volume)[:, None]
    tl.store(grad_input + place, sum, mask=(n < batch)[:, None] & (channels < group_in)[None, :])


@triton.jit
def grad_weight_kernel(
    grad, input, grad_weight,
    batch, in_channels, out_channels, groups, in_z, in_y, in_x, taps_z, taps_y, taps_x, out_z, out_y, out_x,
    stride_z, stride_y, stride_x, pad_z, pad_y, pad_x, gap_z, gap_y, gap_x,
    a_n, a_c, a_z, a_y, a_x, c_n, c_c, c_z, c_y, c_x,
    ACCUMULATOR: tl.constexpr, PRECISION: tl.constexpr,
    TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr,
):  # fmt: skip
    """grad_weight [channels, taps] = grad [channels, pixels] @ im2col(input) [pixels, taps], in a fixed order."""
    group = tl.program_id(2)
    group_in, group_out = in_channels // groups, out_channels // groups
    channels = tl.program_id(0) * TILE_M + tl.arange(0, TILE_M)
    tap = tl.program_id(1) * TILE_N + tl.arange(0, TILE_N)
    c, kz, ky, kx = unravel(tap, taps_z, taps_y, taps_x)
    taps = group_in * taps_z * taps_y * taps_x
    pixels = batch * out_z * out_y * out_x
    sum = tl.zeros((TILE_M, TILE_N), dtype=ACCUMULATOR)
    for start in range(0, pixels, TILE_K):
        pixel = start + tl.arange(0, TILE_K)
        n, oz, oy, ox = unravel(pixel, out_z, out_y, out_x)
        place = (n * c_n).to(tl.int64) + oz * c_z + oy * c_y + ox * c_x
        place = ((group * group_out + channels) * c_c)[:, None] + place[None, :]
        a = tl.load(grad + place, mask=(channels < group_out)[:, None] & (pixel < pixels)[None, :], other=0.0)
        z = (oz * stride_z - pad_z)[:, None] + (kz * gap_z)[None, :]
        y = (oy * stride_y - pad_y)[:, None] + (ky * gap_y)[None, :]
        x = (ox * stride_x - pad_x)[:, None] + (kx * gap_x)[None, :]
        inside = (z >= 0) & (z < in_z) & (y >= 0) & (y < in_y) & (x >= 0) & (x < in_x)
        inside = inside & (pixel < pixels)[:, None] & (tap < taps)[None, :]
        place = (n * a_n).to(tl.int64)[:, None] + ((group * group_in + c) * a_c)[None, :] + z * a_z + y * a_y + x * a_x
        sum = dot(a, tl.load(input + place, mask=inside, other=0.0), sum, PRECISION)
    place = (group * group_out + channels).to(tl.int64)[:, None] * taps + tap[None, :]
    tl.store(grad_weight + place, sum, mask=(channels < group_out)[:, None] & (tap < taps)[None, :])


def tiles_for(dtype: torch.dtype) -> dict:
    sizes = (32, 32, 16) if dtype == torch.float64 else (64, 32, 32)
    names = ("TILE_M", "TILE_N", "TILE_K")
    return dict(zip(names, sizes, strict=True), ACCUMULATOR=compute_type(dtype), PRECISION=precision(dtype))


def grid_for(rows: int, columns: int, groups: int, tiles: dict) -> tuple[int, int, int]:
    return triton.cdiv(rows, tiles["TILE_M"]), triton.cdiv(columns, tiles["TILE_N"]), groups


def forward(input, weight, bias, stride, padding, dilation, groups, activation, training):
    output, preactivation = allocate(input, weight, bias, stride, padding, dilation, groups, activation, training)
    if output.numel():
        bias = None if bias is None else bias.contiguous()
        numbers = numbers_of(input, weight, output, stride, padding, dilation, groups)
        tiles = tiles_for(input.dtype)
        out_channels = weight.shape[0]
        forward_kernel[grid_for(output.numel() // out_channels, out_channels // groups, groups, tiles)](
            input, weight.contiguous(), bias, output, preactivation, *numbers, *strides_of(input), *strides_of(output),
            HAS_BIAS=bias is not None, ACTIVATION=ACTIVATION_CODES[activation], KEEP=preactivation is not None, **tiles,
        )  # fmt: skip
    return output, preactivation


def backward(grads, args, outputs, needs):
    input, weight, bias, stride, padding, dilation, groups, activation = args
    needs_input, needs_weight, needs_bias = needs
    grad = through_activation(activation_gradient, grads[0], outputs, activation)
    numbers = numbers_of(input, weight, grad, stride, padding, dilation, groups)
    tiles = tiles_for(grad.dtype)
    out_channels, in_channels = weight.shape[0], input.shape[1]
    grad_input = grad_weight = grad_bias = None
    if needs_input:
        grad_input = grad.new_empty(input.shape)
        if grad_input.numel():
            grad_input_kernel[grid_for(grad_input.numel() // in_channels, in_channels // groups, groups, tiles)](
                grad, weight.contiguous(), grad_input, *numbers, *strides_of(grad), **tiles
            )
    if needs_weight:
        grad_weight = grad.new_empty(weight.shape)
        if grad_weight.numel():
            taps = grad_weight.numel() // out_channels
            grad_weight_kernel[grid_for(out_channels // groups, taps, groups, tiles)](
                grad, input, grad_weight, *numbers, *strides_of(input), *strides_of(grad), **tiles
            )
    if needs_bias:
        sums = torch.float64 if grad.dtype == torch.float64 else torch.float32
        grad_bias = grad.sum((0, *range(2, grad.dim())), dtype=sums).to(grad.dtype)
    return grad_input, grad_weight, grad_bias


def ahead_of_time() -> list[AheadOfTime]:
    """What compiles for a GPU that isn't there."""
    shape = dict.fromkeys(SHAPE, "i32")
    of_input = dict.fromkeys(("a_n", "a_c", "a_z", "a_y", "a_x"), "i32")
    of_output = dict.fromkeys(("c_n", "c_c", "c_z", "c_y", "c_x"), "i32")
    tiles = dict(ACCUMULATOR=tl.float32, PRECISION="ieee", TILE_M=64, TILE_N=32, TILE_K=32)
    cases = []
    for kind in ("bf16", "fp16", "fp32"):
        pointer = f"*{kind}"
        cases += [
            AheadOfTime(
                forward_kernel,
                dict.fromkeys(("input", "weight", "bias", "output", "preactivation"), pointer)
                | shape
                | of_input
                | of_output,
                dict(HAS_BIAS=True, ACTIVATION=ACTIVATION_CODES["gelu"], KEEP=True, **tiles),
            ),
            AheadOfTime(
                grad_input_kernel,
                dict(grad=pointer, weight=pointer, grad_input=pointer, **shape, **of_output),
                tiles,
            ),
            AheadOfTime(
                grad_weight_kernel,
                dict(grad=pointer, input=pointer, grad_weight=pointer, **shape, **of_input, **of_output),
                tiles,
            ),
        ]
    return cases
