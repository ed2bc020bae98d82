"""Calls of the kernels of `csrc/ops/row_norm`, and what the operations on them have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from nnzoo_fast import _extension, tables
from nnzoo_fast.backends import Verdict, address, wants_gradients
from nnzoo_fast.norms import parameters
from nnzoo_fast.norms.parameters import dtype_of, packed

LITTLE, LITTLE_TRAINING = 2**17, 2**19
"""Values from which a kernel is faster, where no table of this CPU says."""


def matrix_of(input: torch.Tensor, normalized_shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns."""
    axis = input.dim() - len(normalized_shape)
    return math.prod(input.shape[:axis]), math.prod(normalized_shape)


def statistics_like(input: torch.Tensor, normalized_shape: Sequence[int]) -> torch.Tensor:
    """Memory for a number per row."""
    return parameters.sums_like(input, *input.shape[: input.dim() - len(normalized_shape)])


def supports(input: torch.Tensor, *tensors: torch.Tensor | None) -> Verdict:
    return parameters.supports("row_norm_forward", input, *tensors)


def kind_of(input: torch.Tensor, *tensors: torch.Tensor | None) -> tuple[str, int]:
    """The kind of call that a table tells apart, and its values."""
    return f"{tables.DTYPE_NAMES[input.dtype]} {tables.way(input, *tensors)}", math.prod(input.shape)


def pays(operation: str, input: torch.Tensor, *tensors: torch.Tensor | None) -> Verdict:
    if input.dtype not in tables.DTYPE_NAMES:
        return False, f"no kernel for {input.dtype}"
    least = LITTLE_TRAINING if wants_gradients(input, *tensors) else LITTLE
    rule = True, "a row's statistics and results in one visit"
    return parameters.pays(operation, *kind_of(input, *tensors), least, rule)


def check(name: str, input, normalized_shape, **tensors) -> None:
    """Raises what torch raises for shapes and devices that don't fit together."""
    shape, count = list(normalized_shape), len(normalized_shape)
    if count == 0:
        raise RuntimeError(f"{name}: normalized_shape is [], expected at least one size")
    if input.dim() < count or list(input.shape[-count:]) != shape:
        raise RuntimeError(f"{name}: input is {list(input.shape)}, expected [*, {', '.join(map(str, shape))}]")
    for key, tensor in tensors.items():
        if tensor is not None and list(tensor.shape) != shape:
            raise RuntimeError(f"{name}: {key} is {list(tensor.shape)}, expected normalized_shape, {shape}")
    parameters.check_device(name, input, **tensors)


def check_dtypes(name: str, input: torch.Tensor, **tensors: torch.Tensor | None) -> None:
    """Parameters of a 16-bit input may be float32."""
    given = {key: value.dtype for key, value in tensors.items() if value is not None}
    low = input.dtype in (torch.bfloat16, torch.float16)
    for key, dtype in given.items():
        if dtype != input.dtype and not (low and dtype == torch.float32):
            raise RuntimeError(f"{name}: {key} is {dtype}, expected input's {input.dtype}")
    if len(set(given.values())) > 1:
        raise RuntimeError(f"{name}: weight is {given['weight']} and bias {given['bias']}, expected one dtype")


def forward(
    input, residual, normalized_shape, weight, bias, eps, outputs, subtract_mean: bool, p: float = 0.0, seed: int = 0
) -> None:
    """Fills `outputs`: output, sum, mean and rstd, each but the first None if it isn't wanted."""
    input, residual, weight, bias = packed(input), packed(residual), packed(weight), packed(bias)
    _extension._C.row_norm_forward(
        *map(address, (input, residual, weight, bias, *outputs)),
        *matrix_of(input, normalized_shape),
        eps,
        subtract_mean,
        p,
        seed,
        _extension.DTYPE_CODES[input.dtype],
        _extension.DTYPE_CODES[dtype_of(input, weight, bias)],
        torch.get_num_threads(),
    )


def backward(grad, grad_sum, x, normalized_shape, weight, bias, mean, rstd, needs, p: float = 0.0, seed: int = 0):
    """The gradients of x, of the input behind dropout, of weight and of bias, None where they aren't needed.

    x is what was normalised, and grad_sum what else came to it.
    """
    x, grad, grad_sum, weight = packed(x), packed(grad), packed(grad_sum), packed(weight)
    dtype = dtype_of(x, weight, bias)
    shapes = (x.shape, x.dtype), (x.shape, x.dtype), (normalized_shape, dtype), (normalized_shape, dtype)
    found = [
        x.new_empty(shape, dtype=kind) if needed else None for (shape, kind), needed in zip(shapes, needs, strict=True)
    ]
    _extension._C.row_norm_backward(
        *map(address, (grad, grad_sum, x, weight if needs[0] or needs[1] else None, mean, rstd, *found)),
        *matrix_of(x, normalized_shape),
        p,
        seed,
        _extension.DTYPE_CODES[x.dtype],
        _extension.DTYPE_CODES[dtype],
        torch.get_num_threads(),
    )
    return found
