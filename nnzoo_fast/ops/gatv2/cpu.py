"""`gatv2` on the kernels of `csrc/ops/gat/`."""

from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.gat.kernel import Call


def supports(x, *others) -> Verdict:
    return cpu_supports(x, "gat_forward")


def pays(x, *others) -> Verdict:
    return True, "scores, softmax and weighted sum in one walk over the edges"


def forward(x, target, att, edge, *rest):
    from nnzoo_fast.ops.gatv2 import allocate

    *rest, training = rest
    out, normal = allocate(x, target, att, edge, *rest, training)
    Call(x, None, target, edge, att, rest[:6], *rest[6:]).forward(out, normal if training else None)
    return out, normal


def backward(grads, args, outputs, needs):
    x, target, att, edge, *rest = args
    call = Call(x, None, target, edge, att, rest[:6], *rest[6:])
    grad_x, _, grad_target, grad_edge, grad_att = call.backward(grads[0], needs[3], *outputs)
    found = (grad_x, grad_target, grad_att.to(x.dtype), grad_edge)
    return (*(grad if need else None for grad, need in zip(found, needs, strict=False)), *(None,) * (len(needs) - 4))
