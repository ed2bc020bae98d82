"""`adaptive_avg_pool` on the kernels of `csrc/ops/adaptive_avg_pool`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict
from nnzoo_fast.ops.conv.outputs import memory_format_of
from nnzoo_fast.pooling import adaptive
from nnzoo_fast.pooling.calls import outputs_like

SMALL = 2**14
"""Fewer elements take less time than finding the kernel for them."""


def allocate(input, size, training):
    return (outputs_like(input, size),)


def supports(input, size) -> Verdict:
    return adaptive.supports(input, size, "adaptive_avg_pool_forward")


def pays(input, size) -> Verdict:
    if input.numel() < SMALL:
        return False, f"fewer than {SMALL} elements: the call itself takes longer"
    return True, "every element is read once, by vectors of rows or of channels"


def _run(kernel_name, source, result, args):
    getattr(_extension._C, kernel_name)(
        source.data_ptr(),
        result.data_ptr(),
        adaptive.numbers_of(*args),
        _extension.DTYPE_CODES[source.dtype],
        torch.get_num_threads(),
    )


def forward(*args):
    *args, training = args
    (output,) = allocate(*args, training)
    input = args[0].contiguous(memory_format=memory_format_of(args[0]))
    _run("adaptive_avg_pool_forward", input, output, args)
    return (output,)


def backward(grads, args, outputs, needs):
    layout = memory_format_of(args[0])
    grad = grads[0].contiguous(memory_format=layout)
    grad_input = torch.empty(args[0].shape, dtype=grad.dtype, memory_format=layout)
    _run("adaptive_avg_pool_backward", grad, grad_input, args)
    return (grad_input,)
