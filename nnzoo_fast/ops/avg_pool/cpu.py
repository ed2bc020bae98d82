"""`avg_pool` on the kernels of `csrc/ops/avg_pool`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.conv.outputs import memory_format_of
from nnzoo_fast.windows import pooled_size, window_numbers

SMALL = 2**14
"""Fewer elements take less time than finding the kernel for them."""


def allocate(input, kernel, stride, padding, ceil_mode, count_include_pad, divisor, training):
    size = pooled_size(input.shape[2:], kernel, stride, padding, [1] * len(kernel), ceil_mode)
    shape = (*input.shape[:2], *size)
    return (torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format_of(input)),)


def supports(input, kernel, stride, padding, ceil_mode, count_include_pad, divisor) -> Verdict:
    return cpu_supports(input, "avg_pool_forward")


def pays(input, kernel, stride, padding, ceil_mode, count_include_pad, divisor) -> Verdict:
    if input.numel() < SMALL:
        return False, f"fewer than {SMALL} elements: the call itself takes longer"
    if memory_format_of(input) != torch.contiguous_format:
        return False, "stock torch's channels-last kernel walks along neighbouring channels too"
    return True, "vectors of windows: rows are laid out once, for any stride"


def _run(kernel_name, input, output, image, args):
    _, kernel, stride, padding, _, count_include_pad, divisor = args
    from_size, to_size = image
    getattr(_extension._C, kernel_name)(
        input.data_ptr(),
        output.data_ptr(),
        *input.shape[:2],
        window_numbers(from_size, to_size, kernel, stride, padding, [1] * len(kernel)),
        divisor,
        count_include_pad,
        memory_format_of(args[0]) != torch.contiguous_format,
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )


def forward(*args):
    *args, training = args
    (output,) = allocate(*args, training)
    input = args[0].contiguous(memory_format=memory_format_of(args[0]))
    _run("avg_pool_forward", input, output, (input.shape[2:], output.shape[2:]), args)
    return (output,)


def backward(grads, args, outputs, needs):
    input = args[0]
    layout = memory_format_of(input)
    grad = grads[0].contiguous(memory_format=layout)
    grad_input = torch.empty(input.shape, dtype=grad.dtype, memory_format=layout)
    _run("avg_pool_backward", grad, grad_input, (input.shape[2:], grad.shape[2:]), args)
    return (grad_input,)
