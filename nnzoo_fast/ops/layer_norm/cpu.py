"""`layer_norm` on the kernels of `csrc/ops/row_norm`."""

from nnzoo_fast.backends import Verdict
from nnzoo_fast.norms import rows


def supports(input, normalized_shape, weight, bias, eps) -> Verdict:
    return rows.supports(input, weight, bias)


def kind_of(input, normalized_shape, weight, bias, eps) -> tuple[str, int]:
    return rows.kind_of(input, weight, bias)


def pays(input, normalized_shape, weight, bias, eps) -> Verdict:
    return rows.pays("layer_norm", input, weight, bias)


def forward(input, normalized_shape, weight, bias, eps, training):
    from nnzoo_fast.ops.layer_norm import allocate

    outputs = output, mean, rstd = allocate(input, normalized_shape, weight, bias, eps, training)
    rows.forward(input, None, normalized_shape, weight, bias, eps, (output, None, mean, rstd), True)
    return outputs


def backward(grads, args, outputs, needs):
    input, normalized_shape, weight, bias, _ = args
    needs = needs[0], False, *needs[1:]
    found = rows.backward(grads[0], None, input, normalized_shape, weight, bias, *outputs[1:], needs)
    return found[0], *found[2:]
