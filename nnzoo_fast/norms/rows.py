"""Calls of the kernels of `csrc/ops/row_norm`, and what the operations on them have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports, wants_gradients

LITTLE, LITTLE_TRAINING = 2**17, 2**19
"""Values below which stock torch is done before our way to a kernel is."""


def matrix_of(input: torch.Tensor, normalized_shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns."""
    axis = input.dim() - len(normalized_shape)
    return math.prod(input.shape[:axis]), math.prod(normalized_shape)


def statistics_like(input: torch.Tensor, normalized_shape: Sequence[int]) -> torch.Tensor:
    """Memory for a number per row, in the dtype that sums have."""
    dtype = torch.float64 if input.dtype == torch.float64 else torch.float32
    return input.new_empty(input.shape[: input.dim() - len(normalized_shape)], dtype=dtype)


def supports(input: torch.Tensor, *parameters: torch.Tensor | None) -> Verdict:
    given = [parameter.dtype for parameter in parameters if parameter is not None]
    mixed = input.dtype == torch.bfloat16 and all(dtype == torch.float32 for dtype in given)
    if not mixed and any(dtype != input.dtype for dtype in given):
        return False, f"parameters of {given[0]} for an input of {input.dtype}"
    return cpu_supports(input, "row_norm_forward")


def pays(input: torch.Tensor, *parameters: torch.Tensor | None) -> Verdict:
    least = LITTLE_TRAINING if wants_gradients(input, *parameters) else LITTLE
    if input.numel() < least:
        return False, f"less than {least} values: done before our way to a kernel is"
    return True, "a row's statistics and results in one visit"


def check(name: str, input, normalized_shape, **parameters) -> None:
    """Raises what torch raises for shapes, dtypes and devices that don't fit together."""
    shape, count = list(normalized_shape), len(normalized_shape)
    if count == 0:
        raise RuntimeError(f"{name}: normalized_shape is [], expected at least one size")
    if input.dim() < count or list(input.shape[-count:]) != shape:
        raise RuntimeError(f"{name}: input is {list(input.shape)}, expected [*, {', '.join(map(str, shape))}]")
    for key, parameter in parameters.items():
        if parameter is None:
            continue
        if list(parameter.shape) != shape:
            raise RuntimeError(f"{name}: {key} is {list(parameter.shape)}, expected normalized_shape, {shape}")
        if parameter.device != input.device:
            raise RuntimeError(f"{name}: {key} is on {parameter.device}, expected input's {input.device}")


def check_dtypes(name: str, input: torch.Tensor, **parameters: torch.Tensor | None) -> None:
    """Parameters of a 16-bit input may be float32."""
    given = {key: value.dtype for key, value in parameters.items() if value is not None}
    low = input.dtype in (torch.bfloat16, torch.float16)
    for key, dtype in given.items():
        if dtype != input.dtype and not (low and dtype == torch.float32):
            raise RuntimeError(f"{name}: {key} is {dtype}, expected input's {input.dtype}")
    if len(set(given.values())) > 1:
        raise RuntimeError(f"{name}: weight is {given['weight']} and bias {given['bias']}, expected one dtype")


def forward(input, residual, weight, bias, output, sum, mean, rstd, size, eps, subtract_mean, p=0.0, seed=0) -> None:
    """Fills output, and what there is of sum, mean and rstd; `size` is that of `matrix_of`."""
    weight, bias = packed(weight), packed(bias)
    _extension._C.row_norm_forward(
        input.data_ptr(),
        address(residual),
        address(weight),
        address(bias),
        output.data_ptr(),
        address(sum),
        address(mean),
        address(rstd),
        *size,
        eps,
        subtract_mean,
        p,
        seed,
        _extension.DTYPE_CODES[input.dtype],
        _extension.DTYPE_CODES[dtype_of(input, weight, bias)],
        torch.get_num_threads(),
    )


def backward(grad, grad_sum, x, weight, mean, rstd, gradients, size, dtype, p=0.0, seed=0) -> None:
    """Fills `gradients`: of x, of the input behind dropout, of weight and of bias, each None if it isn't wanted."""
    weight, grad, grad_sum = packed(weight), packed(grad), packed(grad_sum)
    _extension._C.row_norm_backward(
        grad.data_ptr(),
        address(grad_sum),
        x.data_ptr(),
        address(weight),
        address(mean),
        rstd.data_ptr(),
        *map(address, gradients),
        *size,
        p,
        seed,
        _extension.DTYPE_CODES[grad.dtype],
        _extension.DTYPE_CODES[dtype],
        torch.get_num_threads(),
    )


def packed(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return tensor if tensor is None or tensor.is_contiguous() else tensor.contiguous()


def dtype_of(input: torch.Tensor, *parameters: torch.Tensor | None) -> torch.dtype:
    """The parameters' dtype."""
    return next((parameter.dtype for parameter in parameters if parameter is not None), input.dtype)
