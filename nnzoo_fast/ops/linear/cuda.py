"""`linear` on the kernels of `csrc/ops/linear/linear_cuda.cu`."""

import math

import torch

from nnzoo_fast._extension import DTYPE_CODES
from nnzoo_fast.backends import Verdict, address
from nnzoo_fast.cuda_support import allows_tf32, call
from nnzoo_fast.ops.linear.cpu import ACTIVATION_CODES
from nnzoo_fast.ops.linear.outputs import NEEDS_PREACTIVATION, allocate


def supports(input, weight, bias, activation) -> Verdict:
    return True, ""


def product(a, b, out, bias=None, activation="none", before=None) -> None:
    """out = activation(a @ b^T + bias) for a [M, K] and b [N, K] of any strides; `before` receives the activation's
    argument."""
    call(
        out,
        "linear_product",
        a.data_ptr(),
        b.data_ptr(),
        address(bias),
        out.data_ptr(),
        address(before),
        a.shape[0],
        b.shape[0],
        a.shape[1],
        *a.stride(),
        *b.stride(),
        ACTIVATION_CODES[activation],
        DTYPE_CODES[out.dtype],
        allows_tf32(),
    )


def rows_of(tensor: torch.Tensor) -> torch.Tensor:
    """[*, K] as [M, K]."""
    return tensor.reshape(math.prod(tensor.shape[:-1]), tensor.shape[-1])


def forward(input, weight, bias, activation, training):
    output, preactivation = allocate(input, weight, bias, activation, training)
    bias = None if bias is None else bias.contiguous()
    product(rows_of(input), weight, output, bias, activation, preactivation)
    return output, preactivation


def backward(grads, args, outputs, needs):
    input, weight, bias, activation = args
    needs_input, needs_weight, needs_bias = needs
    grad = activation_gradient(rows_of(grads[0]), outputs, activation)
    grad_input = grad_weight = grad_bias = None
    if needs_input:
        grad_input = grad.new_empty(input.shape)
        product(grad, weight.t(), grad_input)
    if needs_weight:
        grad_weight = grad.new_empty(weight.shape)
        product(grad.t(), rows_of(input).t(), grad_weight)
    if needs_bias:
        grad_bias = grad.new_empty(weight.shape[:1])
        sizes = (*grad.shape, *grad.stride(), DTYPE_CODES[grad.dtype])
        call(grad, "linear_column_sum", grad.data_ptr(), grad_bias.data_ptr(), *sizes)
    return grad_input, grad_weight, grad_bias


def activation_gradient(grad, outputs, activation):
    """The gradient of the activation's argument, [M, N]."""
    if activation == "none":
        return grad
    kept = outputs[1] if activation in NEEDS_PREACTIVATION else outputs[0]
    result = torch.empty_like(grad, memory_format=torch.contiguous_format)
    sizes = (*grad.shape, *grad.stride(), ACTIVATION_CODES[activation], DTYPE_CODES[grad.dtype])
    call(grad, "linear_activation_gradient", grad.data_ptr(), kept.data_ptr(), result.data_ptr(), *sizes)
    return result
