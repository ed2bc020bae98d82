"""`adaptive_max_pool` on the kernels of `csrc/ops/adaptive_max_pool` and, for gradients, of `csrc/ops/max_pool`."""

import math

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address
from nnzoo_fast.ops.conv.outputs import memory_format_of
from nnzoo_fast.ops.max_pool.cpu import check_positions, gradient_by_index
from nnzoo_fast.pooling import adaptive
from nnzoo_fast.pooling.calls import outputs_like

SMALL = 2**14
"""Fewer elements take less time than finding the kernel for them."""

MOST = 2**24
"""Elements of a plane: kernels number them by float32."""


def allocate(input, size, training):
    """The outputs; for backward the chosen positions."""
    return outputs_like(input, size), outputs_like(input, size, torch.int64) if training else None


def allocate_with_indices(input, size, training):
    return outputs_like(input, size), outputs_like(input, size, torch.int64)


def supports(input, size) -> Verdict:
    if math.prod(input.shape[2:]) > MOST:
        return False, f"input {list(input.shape)} has more than {MOST} elements in a plane"
    return adaptive.supports(input, size, "adaptive_max_pool_forward")


def pays(input, size) -> Verdict:
    if input.numel() < SMALL:
        return False, f"fewer than {SMALL} elements: the call itself takes longer"
    return True, "every element is compared once, by vectors of columns or of channels"


def forward(*args):
    return _run(*args[:-1], *allocate(*args))


def forward_with_indices(*args):
    return _run(*args[:-1], *allocate_with_indices(*args))


def _run(input, size, output, indices):
    input = input.contiguous(memory_format=memory_format_of(input))
    _extension._C.adaptive_max_pool_forward(
        input.data_ptr(),
        output.data_ptr(),
        address(indices),
        adaptive.numbers_of(input, size),
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )
    return output, indices


def backward(grads, args, outputs, needs):
    return (gradient_by_index(grads[0], outputs[1], args[0]),)


def backward_with_indices(grads, args, outputs, needs):
    check_positions(outputs[1], math.prod(args[0].shape[2:]), "adaptive_max_pool")
    return backward(grads, args, outputs, needs)
