"""`layer_norm` on the kernels of `csrc/ops/row_norm`."""

from nnzoo_fast.backends import Verdict
from nnzoo_fast.norms import rows


def supports(input, normalized_shape, weight, bias, eps) -> Verdict:
    return rows.supports(input, weight, bias)


def pays(input, normalized_shape, weight, bias, eps) -> Verdict:
    return rows.pays(input, weight, bias)


def forward(input, normalized_shape, weight, bias, eps, training):
    from nnzoo_fast.ops.layer_norm import allocate

    outputs = allocate(input, normalized_shape, weight, bias, eps, training)
    output, mean, rstd = outputs
    size = rows.matrix_of(input, normalized_shape)
    rows.forward(rows.packed(input), None, weight, bias, output, None, mean, rstd, size, eps, True)
    return outputs


def backward(grads, args, outputs, needs):
    input, normalized_shape, weight, bias, _ = args
    _, mean, rstd = outputs
    needs_input, needs_weight, needs_bias = needs
    input = rows.packed(input)
    dtype = rows.dtype_of(input, weight, bias)
    new = input.new_empty
    grad_input = new(input.shape) if needs_input else None
    grad_weight = new(normalized_shape, dtype=dtype) if needs_weight else None
    grad_bias = new(normalized_shape, dtype=dtype) if needs_bias else None
    gradients = (grad_input, None, grad_weight, grad_bias)
    size = rows.matrix_of(input, normalized_shape)
    rows.backward(grads[0], None, input, weight if needs_input else None, mean, rstd, gradients, size, dtype)
    return grad_input, grad_weight, grad_bias
