"""`dropout` on the kernel of `csrc/ops/dropout`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports, wants_gradients

LEAST, LEAST_TRAINING = 2**11, 2**14
"""Values below which stock torch has drawn its mask before we have drawn a seed and found our kernel."""


def supports(input, p, seed, bias, residual) -> Verdict:
    return cpu_supports(input, "dropout_forward")


def pays(input, p, seed, bias, residual) -> Verdict:
    least = LEAST_TRAINING if wants_gradients(input, bias, residual) else LEAST
    if input.numel() < least:
        return False, f"fewer than {least} values: done before our way to a kernel is"
    if not input.is_contiguous():
        return False, "masks are counted in row-major order; stock torch keeps the memory format"
    return True, "a mask from counters, on every thread, which backward makes again"


def _run(input, bias, residual, p, seed) -> torch.Tensor:
    input, output = input.contiguous(), input.new_empty(input.shape)
    columns = max(input.shape[-1] if input.dim() else 1, 1)
    residual = None if residual is None else residual.contiguous()
    bias = None if bias is None else bias.contiguous()
    _extension._C.dropout_forward(
        input.data_ptr(),
        address(bias),
        address(residual),
        output.data_ptr(),
        input.numel() // columns,
        columns,
        p,
        int(seed),
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )
    return output


def forward(input, p, seed, bias, residual, training):
    return (_run(input, bias, residual, p, seed),)


def backward(grads, args, outputs, needs):
    _, p, seed, _, _ = args
    needs_input, _, needs_bias, needs_residual = needs
    grad_input = grad_bias = None
    if needs_input or needs_bias:
        grad_input = _run(grads[0], None, None, p, seed)
        if needs_bias:
            grad_bias = grad_input.flatten(0, -2).sum(0) if grad_input.dim() > 1 else grad_input.clone()
    return grad_input if needs_input else None, None, grad_bias, grads[0] if needs_residual else None
