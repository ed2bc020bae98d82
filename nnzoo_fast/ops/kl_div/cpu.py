"""`kl_div` on the kernels of `csrc/ops/elementwise_loss`."""

from nnzoo_fast import elementwise_losses as losses
from nnzoo_fast.backends import Verdict


def kind(log_target: bool) -> str:
    return "kl_div_of_logarithms" if log_target else "kl_div"


def supports(input, target, reduction, log_target) -> Verdict:
    if target.shape != input.shape:
        return False, f"target {list(target.shape)} is broadcast to input {list(input.shape)}, or the other way round"
    return losses.supports(input, target)


def pays(input, target, reduction, log_target) -> Verdict:
    return losses.pays(input, target)


def forward(input, target, reduction, log_target, training):
    return losses.forward(kind(log_target), input, target, None, None, reduction)


def backward(grads, args, outputs, needs):
    input, target, reduction, log_target = args
    grad_input = grad_target = None
    if needs[0]:
        common = (grads[0], input, target, None, None, reduction)
        grad_input = losses.backward(kind(log_target), *common, reads_input=False)
    if needs[1]:
        from nnzoo_fast.ops.kl_div import operation

        grad_target = operation.reference_gradients(grads, args, (False, True), False)[1]
    return grad_input, grad_target
