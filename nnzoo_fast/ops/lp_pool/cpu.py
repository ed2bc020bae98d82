"""`lp_pool` on the kernels of `csrc/ops/lp_pool`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.conv.outputs import memory_format_of
from nnzoo_fast.pooling.calls import outputs_like
from nnzoo_fast.pooling.windows import fits_kernels, pooled_size, summed_window_numbers

SMALL = 2**14
"""Fewer elements take less time than finding the kernel for them."""

IN_PRODUCTS = (1.0, 2.0, 3.0)
"""Powers that are a few products."""


def allocate(input, p, kernel, stride, ceil_mode, training):
    none, ones = [0] * len(kernel), [1] * len(kernel)
    return (outputs_like(input, pooled_size(input.shape[2:], kernel, stride, none, ones, ceil_mode)),)


def supports(input, p, kernel, stride, ceil_mode) -> Verdict:
    able, reason = fits_kernels(input, kernel, [0] * len(kernel), [1] * len(kernel))
    return cpu_supports(input, "lp_pool_forward") if able else (able, reason)


def pays(input, p, kernel, stride, ceil_mode) -> Verdict:
    if len(kernel) == 3 and input.dtype == torch.bfloat16:
        return True, "stock torch has no bfloat16 in three dimensions"
    if p not in IN_PRODUCTS:
        return False, f"norm_type {p} is no small whole number: stock torch's powers are vectors, ours single values"
    if input.numel() < SMALL:
        return False, f"fewer than {SMALL} elements: the call itself takes longer"
    return True, "powers, sums and the root in one pass"


def forward(*args):
    *args, training = args
    (output,) = allocate(*args, training)
    input, p, kernel, stride, _ = args
    input = input.contiguous(memory_format=memory_format_of(input))
    _extension._C.lp_pool_forward(
        input.data_ptr(),
        output.data_ptr(),
        p,
        summed_window_numbers(input, output.shape[2:], kernel, stride, [0] * len(kernel)),
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )
    return (output,)


def backward(grads, args, outputs, needs):
    input, p, kernel, stride, _ = args
    layout = memory_format_of(input)
    grad, input, output = (tensor.contiguous(memory_format=layout) for tensor in (grads[0], input, outputs[0]))
    grad_input = torch.empty_like(input, memory_format=layout)
    _extension._C.lp_pool_backward(
        grad.data_ptr(),
        input.data_ptr(),
        output.data_ptr(),
        grad_input.data_ptr(),
        p,
        summed_window_numbers(args[0], output.shape[2:], kernel, stride, [0] * len(kernel)),
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )
    return (grad_input,)
