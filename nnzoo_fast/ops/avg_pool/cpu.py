"""`avg_pool` on the kernels of `csrc/ops/avg_pool`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, cpu_supports, wants_gradients
from nnzoo_fast.ops.conv.outputs import memory_format_of
from nnzoo_fast.pooling.calls import outputs_like
from nnzoo_fast.pooling.windows import fits_kernels, pooled_size, summed_window_numbers

SMALL = 2**14
"""Fewer elements take less time than finding the kernel for them."""


def allocate(input, kernel, stride, padding, ceil_mode, count_include_pad, divisor, training):
    return (outputs_like(input, pooled_size(input.shape[2:], kernel, stride, padding, [1] * len(kernel), ceil_mode)),)


def supports(input, kernel, stride, padding, ceil_mode, count_include_pad, divisor) -> Verdict:
    able, reason = fits_kernels(input, kernel, padding, [1] * len(kernel))
    return cpu_supports(input, "avg_pool_forward") if able else (able, reason)


def pays(input, kernel, stride, padding, ceil_mode, count_include_pad, divisor) -> Verdict:
    if len(kernel) == 3 and input.dtype == torch.bfloat16:
        return True, "stock torch has no bfloat16 in three dimensions"
    if input.numel() < SMALL:
        return False, f"fewer than {SMALL} elements: the call itself takes longer"
    if memory_format_of(input) != torch.contiguous_format and not wants_gradients(input):
        return False, "stock torch's channels-last kernel walks along neighbouring channels too"
    return True, "vectors of windows: rows are laid out once, for any stride"


def _run(kernel_name, source, result, output_size, args):
    input, kernel, stride, padding, _, count_include_pad, divisor = args
    getattr(_extension._C, kernel_name)(
        source.data_ptr(),
        result.data_ptr(),
        summed_window_numbers(input, output_size, kernel, stride, padding, divisor, count_include_pad),
        _extension.DTYPE_CODES[source.dtype],
        torch.get_num_threads(),
    )


def forward(*args):
    *args, training = args
    (output,) = allocate(*args, training)
    input = args[0].contiguous(memory_format=memory_format_of(args[0]))
    _run("avg_pool_forward", input, output, output.shape[2:], args)
    return (output,)


def backward(grads, args, outputs, needs):
    layout = memory_format_of(args[0])
    grad = grads[0].contiguous(memory_format=layout)
    grad_input = torch.empty(args[0].shape, dtype=grad.dtype, memory_format=layout)
    _run("avg_pool_backward", grad, grad_input, grad.shape[2:], args)
    return (grad_input,)
