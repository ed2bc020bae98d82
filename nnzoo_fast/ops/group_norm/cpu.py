"""`group_norm` on the kernels of `csrc/ops/channel_norm`."""

from nnzoo_fast.backends import Verdict
from nnzoo_fast.norms import channels
from nnzoo_fast.norms.parameters import sums_like


def supports(input, num_groups, weight, bias, eps) -> Verdict:
    return channels.supports(input, weight, bias)


def kind_of(input, num_groups, weight, bias, eps) -> tuple[str, int]:
    return channels.kind_of(together(input, num_groups), input, weight, bias)


def pays(input, num_groups, weight, bias, eps) -> Verdict:
    what = together(input, num_groups)
    measured_as = "group_norm" if what == "groups" else "instance_norm"  # whose stock operator is another
    return channels.pays(measured_as, what, input, weight, bias)


def together(input, num_groups: int) -> str:
    return "one by one" if num_groups == input.shape[1] else "groups"


def forward(input, num_groups, weight, bias, eps, training, two_sweeps: bool = False) -> tuple:
    from nnzoo_fast.ops.group_norm import allocate

    outputs = output, mean, rstd = allocate(input, num_groups, weight, bias, eps, training)
    shape = channels.shape_of(input, num_groups, False, two_sweeps)
    if mean is None:
        mean, rstd = (sums_like(input, shape.sets) for _ in range(2))
    channels.forward(input, weight, bias, (output, mean, rstd, None), shape, eps, False)
    return outputs


def forward_in_two_sweeps(*args) -> tuple:
    """Statistics of all groups first, then the results."""
    return forward(*args, two_sweeps=True)


def backward(grads, args, outputs, needs):
    input, num_groups, weight, bias, _ = args
    shape = channels.shape_of(input, num_groups, False)
    grads = (grads[0], None, None)
    return channels.backward(grads, input, weight, bias, outputs[1], outputs[2], shape, False, needs)
