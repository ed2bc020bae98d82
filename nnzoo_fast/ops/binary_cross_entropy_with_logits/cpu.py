"""`binary_cross_entropy_with_logits` on the kernels of `csrc/ops/elementwise_loss`."""

from nnzoo_fast import elementwise_losses as losses
from nnzoo_fast.backends import Verdict

KIND = "binary_cross_entropy"


def supports(input, target, weight, pos_weight, reduction) -> Verdict:
    return losses.supports(input, target, weight, pos_weight)


def pays(input, target, weight, pos_weight, reduction) -> Verdict:
    return losses.pays(input, target)


def forward(input, target, weight, pos_weight, reduction, training):
    return losses.forward(KIND, input, target, weight, pos_weight, reduction)


def backward(grads, args, outputs, needs):
    rest = None, None, None
    if any(needs[1:]):  # of what is seldom trained
        from nnzoo_fast.ops.binary_cross_entropy_with_logits import operation

        _, *rest = operation.reference_gradients(grads, args, (False, *needs[1:]), False)
    return losses.backward(KIND, grads[0], *args) if needs[0] else None, *rest
