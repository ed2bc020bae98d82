"""`rms_norm` on the kernels of `csrc/ops/row_norm`."""

from nnzoo_fast.backends import Verdict
from nnzoo_fast.norms import rows
from nnzoo_fast.ops.rms_norm.reference import eps_of


def supports(input, normalized_shape, weight, eps) -> Verdict:
    return rows.supports(input, weight)


def pays(input, normalized_shape, weight, eps) -> Verdict:
    return rows.pays(input, weight)


def forward(input, normalized_shape, weight, eps, training):
    from nnzoo_fast.ops.rms_norm import allocate

    outputs = output, rstd = allocate(input, normalized_shape, weight, eps, training)
    size, eps = rows.matrix_of(input, normalized_shape), eps_of(input) if eps is None else eps
    rows.forward(rows.packed(input), None, weight, None, output, None, None, rstd, size, eps, False)
    return outputs


def backward(grads, args, outputs, needs):
    input, normalized_shape, weight, _ = args
    needs_input, needs_weight = needs
    input = rows.packed(input)
    dtype = rows.dtype_of(input, weight)
    grad_input = input.new_empty(input.shape) if needs_input else None
    grad_weight = input.new_empty(normalized_shape, dtype=dtype) if needs_weight else None
    gradients = (grad_input, None, grad_weight, None)
    size = rows.matrix_of(input, normalized_shape)
    rows.backward(grads[0], None, input, weight if needs_input else None, None, outputs[1], gradients, size, dtype)
    return grad_input, grad_weight
