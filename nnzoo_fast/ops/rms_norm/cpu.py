"""`rms_norm` on the kernels of `csrc/ops/row_norm`."""

from nnzoo_fast.backends import Verdict
from nnzoo_fast.norms import rows
from nnzoo_fast.ops.rms_norm.reference import eps_of


def supports(input, normalized_shape, weight, eps) -> Verdict:
    return rows.supports(input, weight)


def kind_of(input, normalized_shape, weight, eps) -> tuple[str, int]:
    return rows.kind_of(input, weight)


def pays(input, normalized_shape, weight, eps) -> Verdict:
    return rows.pays("rms_norm", input, weight)


def forward(input, normalized_shape, weight, eps, training):
    from nnzoo_fast.ops.rms_norm import allocate

    outputs = output, rstd = allocate(input, normalized_shape, weight, eps, training)
    eps = eps_of(input) if eps is None else eps
    rows.forward(input, None, normalized_shape, weight, None, eps, (output, None, None, rstd), False)
    return outputs


def backward(grads, args, outputs, needs):
    input, normalized_shape, weight, _ = args
    needs = needs[0], False, needs[1], False
    found = rows.backward(grads[0], None, input, normalized_shape, weight, None, None, outputs[1], needs)
    return found[0], found[2]
