"""`max_pool` on the kernels of `csrc/ops/max_pool`."""

import math

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports, wants_gradients
from nnzoo_fast.ops.conv.outputs import memory_format_of
from nnzoo_fast.ops.max_pool.outputs import allocate, allocate_with_indices, by_byte
from nnzoo_fast.pooling.windows import fits_kernels, window_numbers

SMALL = 2**14
"""A pooling of fewer elements takes less time than finding the kernel for it."""


def supports(input, kernel, stride, padding, dilation, ceil_mode, minimum) -> Verdict:
    if any(pad > 0 and gap > size for pad, gap, size in zip(padding, dilation, input.shape[2:], strict=True)):
        return False, f"dilation {list(dilation)} steps over all of input {list(input.shape)}: a window may be empty"
    able, reason = fits_kernels(input, kernel, padding, dilation)
    return cpu_supports(input, "max_pool_forward") if able else (able, reason)


def pays(input, kernel, stride, padding, dilation, ceil_mode, minimum) -> Verdict:
    if input.numel() < SMALL:
        return False, f"fewer than {SMALL} elements: the call itself takes longer"
    if memory_format_of(input) != torch.contiguous_format and wants_gradients(input):
        return False, "stock torch scatters channels-last gradients as fast as these kernels gather them"
    return True, "vectors of windows, or of channels; what backward needs is a byte for each window"


def forward(*args):
    output, chosen = allocate(*args)
    _run(args, output, *((chosen, None) if by_byte(args[1]) else (None, chosen)))
    return output, chosen


def forward_with_indices(*args):
    output, indices, chosen = allocate_with_indices(*args)
    _run(args, output, chosen if by_byte(args[1]) else None, indices)
    return output, indices, chosen


def _run(args, output, offsets, indices):
    input, kernel, stride, padding, dilation, _, minimum, _ = args
    layout = memory_format_of(input)
    input = input.contiguous(memory_format=layout)
    _extension._C.max_pool_forward(
        input.data_ptr(),
        output.data_ptr(),
        address(offsets),
        address(indices),
        input.shape[0],
        input.shape[1],
        window_numbers(input.shape[2:], output.shape[2:], kernel, stride, padding, dilation),
        layout != torch.contiguous_format,
        minimum,
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )


def backward(grads, args, outputs, needs):
    chosen = outputs[1]
    return _run_backward(grads, args, *((chosen, None) if by_byte(args[1]) else (None, chosen)))


def backward_with_indices(grads, args, outputs, needs):
    _, indices, chosen = outputs
    if not by_byte(args[1]):
        check_positions(indices, math.prod(args[0].shape[2:]))
    return _run_backward(grads, args, *((chosen, None) if by_byte(args[1]) else (None, indices)))


def check_positions(indices, count: int, op: str = "max_pool") -> None:
    """The caller has these indices too, and `indices.data` changes behind autograd's back."""
    if indices.numel() == 0:
        return
    least, most = map(int, indices.aminmax())
    if least < 0 or most >= count:
        found = least if least < 0 else most
        raise IndexError(f"{op}: index {found} is out of range, expected 0 <= index < {count}")


def _run_backward(grads, args, offsets, indices):
    input, kernel, stride, padding, dilation, _, _ = args
    windows = window_numbers(input.shape[2:], grads[0].shape[2:], kernel, stride, padding, dilation)
    return (_gradient(grads[0], input, offsets, indices, windows),)


def gradient_by_index(grad, indices, input):
    """The gradient of `input` where each element of `grad` was chosen from position `indices`, which must be inside."""
    ones = [1] * (input.dim() - 2)
    windows = window_numbers(input.shape[2:], grad.shape[2:], ones, ones, [0] * len(ones), ones)
    return _gradient(grad, input, None, indices, windows)


def _gradient(grad, input, offsets, indices, windows):
    layout = memory_format_of(input)
    grad = grad.contiguous(memory_format=layout)
    grad_input = torch.empty(input.shape, dtype=grad.dtype, memory_format=layout)
    _extension._C.max_pool_backward(
        grad.data_ptr(),
        address(offsets),
        address(indices),
        grad_input.data_ptr(),
        input.shape[0],
        input.shape[1],
        windows,
        layout != torch.contiguous_format,
        _extension.DTYPE_CODES[grad.dtype],
        torch.get_num_threads(),
    )
    return grad_input
