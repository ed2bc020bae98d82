"""`linear` on the kernels of `csrc/ops/linear/linear_cpu.cpp`."""

import functools
import math

import torch

from nnzoo_fast import _extension, tables
from nnzoo_fast.activations import ACTIVATION_CODES, kept_of
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.linear.outputs import allocate

RUNGS = ("loops", "vectors", "tiles", "blocks", "threads")
"""The ladder below the packed product, simplest first: the `LinearRung`s of csrc/ops/linear/linear.h."""

FEW_ROWS = 16
"""Up to so many rows the weight is streamed, not packed."""

FEW_ROWS_WEIGHT = 2**18
"""With few rows, a weight of so many values keeps the memory busy for longer than the call itself takes."""

NARROW = 192
"""In or out features below which a training step spends as long packing as multiplying."""


def supports(input, weight, bias, activation, residual) -> Verdict:
    return cpu_supports(input, "linear_forward")


def kind_of(input, weight, bias, activation, residual) -> tuple[str, int]:
    """The kind of call that a table tells apart, and its multiply-adds (with few rows, those of one)."""
    rows = math.prod(input.shape[:-1])  # Size.numel() would fix the sizes of a traced call
    size = "narrow" if min(weight.shape) < NARROW else "wide"
    if rows <= FEW_ROWS:
        size = "one row" if rows == 1 else "few rows"
    fused = "" if activation == "none" else " activation"
    kind = f"{tables.DTYPE_NAMES[input.dtype]} {size}{fused} {tables.way(input, weight, bias)}"
    return kind, weight.numel() if rows <= FEW_ROWS else rows * weight.numel()


def pays(input, weight, bias, activation, residual) -> Verdict:
    kind, work = kind_of(input, weight, bias, activation, residual)
    streams = "row" in kind and work >= FEW_ROWS_WEIGHT and not kind.endswith("one row training")
    rule = (
        (True, f"up to {FEW_ROWS} rows: the weight is streamed once, unpacked")
        if streams
        else (False, f"{kind}: no measurements of this CPU are at hand, stock torch's GEMM is trusted")
    )
    return tables.pays("linear", kind, work, rule)


def rows_of(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` [*, K] as [M, K] with adjacent columns; a copy only if its strides leave no other way."""
    if tensor.dim() == 2 and tensor.stride(1) == 1:
        return tensor
    rows = tensor.reshape(tensor.shape[:-1].numel(), tensor.shape[-1])
    return rows if rows.stride(1) == 1 or rows.shape[1] == 1 else rows.contiguous()


def forward(input, weight, bias, activation, residual, training):
    return _forward(_extension._C.linear_forward, weight.stride(), input, weight, bias, activation, residual, training)


def forward_by(rung: str):
    """The forward of a rung of the ladder, which wants adjacent columns of the weight."""

    def forward(input, weight, bias, activation, residual, training):
        kernel = functools.partial(_extension._C.linear_forward_simple, RUNGS.index(rung))
        weight = rows_of(weight)
        return _forward(kernel, weight.stride()[:1], input, weight, bias, activation, residual, training)

    return forward


def _forward(kernel, weight_strides, input, weight, bias, activation, residual, training):
    output, kept = allocate(input, weight, bias, activation, residual, training)
    rows = rows_of(input)
    added = None if residual is None else rows_of(residual)
    bias = bias if bias is None or bias.is_contiguous() else bias.contiguous()
    out_features, in_features = weight.shape
    kernel(
        rows.data_ptr(),
        weight.data_ptr(),
        address(bias),
        address(added),
        output.data_ptr(),
        address(kept),
        rows.shape[0],
        out_features,
        in_features,
        rows.stride(0),
        *weight_strides,
        0 if added is None else added.stride(0),
        ACTIVATION_CODES[activation],
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )
    return output, kept


def activation_gradient(grad: torch.Tensor, kept: torch.Tensor, activation: str) -> torch.Tensor:
    """grad [M, N] * activation'(.) of `kept` [M, N]; both are contiguous."""
    result = torch.empty_like(grad)
    _extension._C.linear_activation_backward(
        grad.data_ptr(),
        kept.data_ptr(),
        result.data_ptr(),
        *grad.shape,
        ACTIVATION_CODES[activation],
        _extension.DTYPE_CODES[grad.dtype],
        torch.get_num_threads(),
    )
    return result


def backward(grads, args, outputs, needs):
    input, weight, bias, activation, residual = args
    needs_input, needs_weight, needs_bias, needs_residual = needs
    grad = rows_of(grads[0])
    rows = rows_of(input) if needs_weight else input
    new = grad.new_empty
    grad_input = new(input.shape) if needs_input else None
    grad_weight = new(weight.shape) if needs_weight else None
    grad_bias = new(weight.shape[:1]) if needs_bias else None
    _extension._C.linear_backward(
        grad.data_ptr(),
        rows.data_ptr(),
        weight.data_ptr(),
        address(kept_of(outputs, activation, residual is not None)),
        address(grad_input),
        address(grad_weight),
        address(grad_bias),
        grad.shape[0],
        weight.shape[0],
        weight.shape[1],
        grad.stride(0),
        rows.stride(0) if needs_weight else weight.shape[1],
        weight.stride(0),
        weight.stride(1),
        ACTIVATION_CODES[activation],
        _extension.DTYPE_CODES[grad.dtype],
        torch.get_num_threads(),
    )
    return grad_input, grad_weight, grad_bias, grads[0] if needs_residual else None
