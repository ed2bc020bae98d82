"""`add_norm` on the kernels of `csrc/ops/row_norm`."""

import torch

from nnzoo_fast import tables
from nnzoo_fast.backends import Verdict, wants_gradients
from nnzoo_fast.norms import parameters, rows
from nnzoo_fast.ops.add_norm.reference import EPS
from nnzoo_fast.ops.rms_norm.reference import eps_of

LITTLE, LITTLE_TRAINING = 2**14, 2**16
"""Values from which a kernel is faster, where no table of this CPU says."""


def supports(input, residual, normalized_shape, weight, bias, eps, dropout_p, norm, seed) -> Verdict:
    return rows.supports(input, weight, bias)


def kind_of(input, residual, normalized_shape, weight, bias, eps, dropout_p, norm, seed) -> tuple[str, int]:
    kind, values = rows.kind_of(input, residual, weight, bias)
    return f"{kind}{' dropout' if dropout_p > 0 else ''}", values


def pays(input, residual, normalized_shape, weight, bias, eps, dropout_p, norm, seed) -> Verdict:
    if input.dtype not in tables.DTYPE_NAMES:
        return False, f"no kernel for {input.dtype}"
    kind, values = kind_of(input, residual, normalized_shape, weight, bias, eps, dropout_p, norm, seed)
    least = LITTLE_TRAINING if wants_gradients(input, residual, weight, bias) else LITTLE
    return parameters.pays("add_norm", kind, values, least, (True, "sum, mask and norm in one visit of a row"))


def forward(input, residual, normalized_shape, weight, bias, eps, dropout_p, norm, seed, training):
    from nnzoo_fast.ops.add_norm import allocate

    outputs = allocate(input, residual, normalized_shape, weight, bias, eps, dropout_p, norm, seed, training)
    eps = (EPS if norm == "layer" else eps_of(input)) if eps is None else eps
    mask = dropout_p, _number(seed)
    rows.forward(input, residual, normalized_shape, weight, bias, eps, outputs, norm == "layer", *mask)
    return outputs


def backward(grads, args, outputs, needs):
    _, _, normalized_shape, weight, bias, _, dropout_p, norm, seed = args
    (grad, grad_sum), (_, x, mean, rstd) = grads, outputs
    grad = torch.zeros_like(x) if grad is None else grad
    mean = mean if norm == "layer" else None
    apart = dropout_p > 0  # without dropout, both summands have the gradient of the sum
    wanted = needs[1] or (needs[0] and not apart), needs[0] and apart, *needs[2:4]
    mask = dropout_p, _number(seed)
    found = rows.backward(grad, grad_sum, x, normalized_shape, weight, bias, mean, rstd, wanted, *mask)
    grad_x, grad_input, *others = found
    return grad_input if apart else (grad_x if needs[0] else None), grad_x if needs[1] else None, *others, None


def _number(seed: torch.Tensor | None) -> int:
    return 0 if seed is None else int(seed)
