"""What the kernels of both engines ask of their tensors: an input, and short vectors of parameters and statistics."""

from __future__ import annotations

import torch

from nnzoo_fast import tables
from nnzoo_fast.backends import Verdict, cpu_supports


def sums_like(input: torch.Tensor, *size: int) -> torch.Tensor:
    """Memory for numbers in the dtype that sums have."""
    return input.new_empty(size, dtype=torch.float64 if input.dtype == torch.float64 else torch.float32)


def packed(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return tensor if tensor is None or tensor.is_contiguous() else tensor.contiguous()


def dtype_of(input: torch.Tensor, *parameters: torch.Tensor | None) -> torch.dtype:
    """The parameters' dtype."""
    return next((parameter.dtype for parameter in parameters if parameter is not None), input.dtype)


def supports(kernel: str, input: torch.Tensor, *parameters: torch.Tensor | None) -> Verdict:
    given = [parameter.dtype for parameter in parameters if parameter is not None]
    mixed = input.dtype == torch.bfloat16 and all(dtype == torch.float32 for dtype in given)
    if not mixed and any(dtype != input.dtype for dtype in given):
        return False, f"parameters of {given[0]} for an input of {input.dtype}"
    return cpu_supports(input, kernel)


def pays(operation: str, kind: str, values: int, least: int, rule: Verdict) -> Verdict:
    """By the table of this CPU; without one by the `rule`, and from `least` values on."""
    if values < least:
        rule = False, f"less than {least} values: done before our way to a kernel is"
    return tables.pays(operation, kind, values, rule, "values")


def check_device(name: str, input: torch.Tensor, **tensors: torch.Tensor | None) -> None:
    for key, tensor in tensors.items():
        if tensor is not None and tensor.device != input.device:
            raise RuntimeError(f"{name}: {key} is on {tensor.device}, expected input's {input.device}")
