"""`embedding` on the kernels of `csrc/ops/embedding/`."""

import math

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, cpu_supports, wants_gradients

LEAST_VALUES = 1 << 20
"""Values asked for from which the gradient is worth sorting for. On a Zen 4 core, forward and backward take 0.46 times
as long in stock torch for 64 rows of 100 values, 1.16 times for 2048 of 512, 2.3 times for 100,000 of 64."""


def supports(weight, indices, padding_idx, scale_grad_by_freq) -> Verdict:
    if weight.shape[0] >= 2**31 or math.prod(indices.shape) >= 2**31:
        return False, "2^31 rows or indices and more"
    return cpu_supports(weight, "embedding_forward")


def pays(weight, indices, padding_idx, scale_grad_by_freq) -> Verdict:
    if not wants_gradients(weight):
        return False, "stock torch copies rows as fast as memory allows"
    if math.prod(indices.shape) * weight.shape[1] < LEAST_VALUES:
        return False, f"less than {LEAST_VALUES} values are asked for"
    return True, "the gradient is written once, in the order of its rows"


def forward(weight, indices, padding_idx, scale_grad_by_freq, training):
    out = weight.new_empty((*indices.shape, weight.shape[1]))
    if out.numel() == 0:
        if indices.numel() > 0:
            torch.embedding(weight, indices)  # raises for an index out of range
        return (out,)
    rows = weight if weight.stride(1) == 1 or weight.shape[1] == 1 else weight.contiguous()
    numbers = as_numbers(indices)
    invalid = _extension._C.embedding_forward(
        rows.data_ptr(),
        numbers.data_ptr(),
        out.data_ptr(),
        *rows.shape,
        numbers.shape[0],
        rows.stride(0),
        rows.element_size(),
        torch.get_num_threads(),
    )
    if invalid >= 0:
        raise IndexError(
            f"embedding: index {int(numbers[invalid])} at place {invalid} of indices is out of range, "
            f"expected 0 <= index < {weight.shape[0]}"
        )
    return (out,)


def backward(grads, args, outputs, needs):
    weight, indices, padding_idx, scale_grad_by_freq = args
    rows, features = weight.shape
    grad_weight = grads[0].new_empty(weight.shape)
    if grad_weight.numel() == 0:
        return grad_weight, None
    numbers, grad, threads = as_numbers(indices), grads[0].contiguous(), torch.get_num_threads()
    count = numbers.shape[0]
    start, order = (numbers.new_empty(size, dtype=torch.int32) for size in (rows + 1, count))
    invalid = _extension._C.group_edges(
        numbers.data_ptr(), 0, start.data_ptr(), 0, order.data_ptr(), count, rows, count, threads
    )
    if invalid >= 0:
        raise IndexError("embedding: indices were changed and are out of range")
    _extension._C.embedding_backward(
        start.data_ptr(),
        order.data_ptr(),
        grad.data_ptr(),
        grad_weight.data_ptr(),
        rows,
        features,
        padding_idx,
        scale_grad_by_freq,
        _extension.DTYPE_CODES[grad.dtype],
        threads,
    )
    return grad_weight, None


def as_numbers(indices: torch.Tensor) -> torch.Tensor:
    """int64 [count], dense."""
    return indices.to(torch.int64).reshape(-1).contiguous()
