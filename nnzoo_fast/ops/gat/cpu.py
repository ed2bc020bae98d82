"""`gat` on the kernels of `csrc/ops/gat/`."""

from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.gat.kernel import Call


def supports(x, *others) -> Verdict:
    return cpu_supports(x, "gat_forward")


def pays(x, *others) -> Verdict:
    return True, "scores, softmax and weighted sum in one walk over the edges"


def forward(x, source, target, edge, *rest):
    from nnzoo_fast.ops.gat import allocate

    *rest, training = rest
    out, normal = allocate(x, source, target, edge, *rest, training)
    Call(x, source, target, edge, None, rest[:6], *rest[6:]).forward(out, normal if training else None)
    return out, normal


def backward(grads, args, outputs, needs):
    x, source, target, edge, *rest = args
    call = Call(x, source, target, edge, None, rest[:6], *rest[6:])
    grad_x, grad_source, grad_target, grad_edge, _ = call.backward(grads[0], *outputs)
    found = (grad_x, grad_source, grad_target, grad_edge.to(x.dtype) if needs[3] else None)
    return (*(grad if need else None for grad, need in zip(found, needs, strict=False)), *(None,) * (len(needs) - 4))
