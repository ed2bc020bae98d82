"""`linear` on the kernels of `csrc/ops/linear/*_cuda.cu`."""

import math
from typing import NamedTuple

import torch

from nnzoo_fast._extension import DTYPE_CODES
from nnzoo_fast.activations import ACTIVATION_CODES, kept_of
from nnzoo_fast.backends import Verdict, address
from nnzoo_fast.cuda_support import Kernels, call
from nnzoo_fast.ops.linear.cuda_plan import Kernel, kernel_for, multiprocessors, row_slice_of, slice_of
from nnzoo_fast.ops.linear.outputs import allocate


def supports(input, weight, bias, activation, residual) -> Verdict:
    return True, ""


def supports_tensor_cores(input, weight, bias, activation, residual) -> Verdict:
    if input.dtype not in (torch.bfloat16, torch.float16):
        return False, f"{input.dtype}: this rung multiplies bfloat16 and float16"
    return True, ""


def product(a, b, out, bias=None, activation="none", kept=None, top=Kernel.HOPPER, residual=None) -> None:
    """out = activation(a @ b^T + bias) + residual for a [M, K] and b [N, K] of any strides, the others contiguous.

    `kept` receives what the activation's derivative is written in. The highest rung up to `top` that can, runs.
    """
    (rows, depth), columns = a.shape, b.shape[0]
    kernel = kernel_for(top, a, b)
    slice = slice_of(kernel, rows, columns, depth)
    parts = parts_of(out, -(-depth // slice), rows, columns)
    tensors = [address(tensor) for tensor in (a, b, bias, residual, out, kept, parts)]
    sizes = (rows, columns, depth, *a.stride(), *b.stride(), slice)
    codes = (ACTIVATION_CODES[activation], DTYPE_CODES[out.dtype], kernel, multiprocessors(out))
    call(out, "linear_product", tensors, sizes, *codes)


def parts_of(like: torch.Tensor, slices: int, *shape: int) -> torch.Tensor | None:
    """Room for the sums of each of several slices."""
    if slices < 2:
        return None
    return like.new_empty((slices, *shape), dtype=torch.promote_types(like.dtype, torch.float32))


def rows_of(tensor: torch.Tensor) -> torch.Tensor:
    """[*, K] as [M, K]."""
    return tensor.reshape(math.prod(tensor.shape[:-1]), tensor.shape[-1])


def gradient(grad, sums=None, kept=None, activation="none") -> torch.Tensor:
    """The gradient of the activation's argument, from that of its result, `grad` [M, N]; its sum over the rows goes to
    `sums` [N], if that is wanted."""
    out = None if activation == "none" else torch.empty_like(grad, memory_format=torch.contiguous_format)
    if out is not None or sums is not None:
        rows, columns = grad.shape
        slice = row_slice_of(rows, columns, grad.element_size())
        parts = None if sums is None else parts_of(grad, -(-rows // slice), columns)
        tensors = [address(tensor) for tensor in (grad, kept, out, sums, parts)]
        sizes = (rows, columns, *grad.stride(), slice)
        call(grad, "linear_gradient", tensors, sizes, ACTIVATION_CODES[activation], DTYPE_CODES[grad.dtype])
    return grad if out is None else out


def activation_gradient(grad: torch.Tensor, kept: torch.Tensor, activation: str) -> torch.Tensor:
    """grad [M, N] * activation'(.) of `kept` [M, N], contiguous."""
    return gradient(grad, None, kept, activation)


class Ladder(NamedTuple):
    """The kernels up to one rung."""

    top: Kernel

    def forward(self, input, weight, bias, activation, residual, training):
        output, kept = allocate(input, weight, bias, activation, residual, training)
        bias = None if bias is None else bias.contiguous()
        added = None if residual is None else rows_of(residual).contiguous()
        product(rows_of(input), weight, output, bias, activation, kept, self.top, added)
        return output, kept

    def backward(self, grads, args, outputs, needs):
        input, weight, _, activation, residual = args
        needs_input, needs_weight, needs_bias, needs_residual = needs
        grad_input = grad_weight = None
        grad_bias = grads[0].new_empty(weight.shape[:1]) if needs_bias else None
        grad = gradient(rows_of(grads[0]), grad_bias, kept_of(outputs, activation, residual is not None), activation)
        if needs_input:
            grad_input = grad.new_empty(input.shape)
            product(grad, weight.t(), grad_input, top=self.top)
        if needs_weight:
            grad_weight = grad.new_empty(weight.shape)
            product(grad.t(), rows_of(input).t(), grad_weight, top=self.top)
        return grad_input, grad_weight, grad_bias, grads[0] if needs_residual else None


def kernels(top: Kernel, supports=supports) -> Kernels:
    ladder = Ladder(top)
    return Kernels(supports, ladder.forward, ladder.backward)


_, forward, backward = kernels(Kernel.HOPPER)
RUNGS = {
    "tensor": kernels(Kernel.TENSOR, supports_tensor_cores),
    "vectors": kernels(Kernel.VECTORS),
    "tiled": kernels(Kernel.TILED),
    "naive": kernels(Kernel.NAIVE),
}
