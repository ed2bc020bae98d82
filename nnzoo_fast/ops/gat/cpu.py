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
    outputs = allocate(x, source, target, edge, *rest, training)
    call = Call(x, source, target, edge, None, rest[:6], *rest[6:])
    call.forward(*(outputs if training else (outputs[0], None)))
    return outputs


def backward(grads, args, outputs, needs):
    x, source, target, edge, *rest = args
    call = Call(x, source, target, edge, None, rest[:6], *rest[6:])
    found = call.backward(grads[0], needs[3], *outputs)[:4]
    return (*(grad if need else None for grad, need in zip(found, needs, strict=False)), *(None,) * (len(needs) - 4))
