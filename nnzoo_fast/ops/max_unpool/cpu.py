"""`max_unpool` on the kernels of `csrc/ops/max_unpool`."""

import math

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.conv.outputs import memory_format_of
from nnzoo_fast.pooling.calls import outputs_like


def allocate(input, indices, kernel, stride, padding, size, training):
    return (outputs_like(input, size),)


def supports(input, indices, kernel, stride, padding, size) -> Verdict:
    if min(size) < 1:
        return False, f"output_size {list(size)} has no elements"
    return cpu_supports(input, "max_unpool_forward")


def pays(input, indices, kernel, stride, padding, size) -> Verdict:
    return False, "stock torch zeroes and scatters as fast; asked for by name, results repeat bit by bit"


def _run(kernel_name, values, indices, planes, layout):
    bad = getattr(_extension._C, kernel_name)(
        values.data_ptr(),
        indices.data_ptr(),
        planes.data_ptr(),
        *values.shape[:2],
        math.prod(values.shape[2:]),
        math.prod(planes.shape[2:]),
        layout != torch.contiguous_format,
        _extension.DTYPE_CODES[values.dtype],
        torch.get_num_threads(),
    )
    if bad >= 0:
        flat = indices.flatten() if layout == torch.contiguous_format else indices.movedim(1, -1).flatten()
        raise RuntimeError(
            f"max_unpool: indices has {int(flat[bad])}, which is out of range for an output of "
            f"{list(planes.shape[2:])}, {math.prod(planes.shape[2:])} elements"
        )


def forward(*args):
    (output,) = allocate(*args)
    layout = memory_format_of(args[0])
    input, indices = (tensor.contiguous(memory_format=layout) for tensor in args[:2])
    _run("max_unpool_forward", input, indices, output, layout)
    return (output,)


def backward(grads, args, outputs, needs):
    layout = memory_format_of(args[1])
    grad, indices = grads[0].contiguous(memory_format=layout), args[1].contiguous(memory_format=layout)
    grad_input = torch.empty(indices.shape, dtype=grad.dtype, memory_format=layout)
    _run("max_unpool_backward", grad_input, indices, grad, layout)
    return (grad_input, None)
