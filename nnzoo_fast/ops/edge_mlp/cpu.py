"""`edge_mlp` on the kernels of `csrc/ops/edge_mlp/`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.activations import ACTIVATION_CODES
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.gather_scatter.cpu import check_indices, edge_groups


def supports(p, *others) -> Verdict:
    if p.shape[1] == 0:
        return False, "there are no hidden features"
    return cpu_supports(p, "edge_mlp_max")


def pays(p, *others) -> Verdict:
    return True, "no row is stored for an edge"


def packed(args: tuple, weight, bias, out, best) -> tuple:
    """The graph and the arguments as kernels take them; `p` and `q` are dense."""
    p, q, _, _, in_start, in_source, in_edge, out_start, out_target, out_edge, activation, _ = args
    hidden = p.shape[1]
    return (
        edge_groups(in_start, in_source, in_edge, q.shape[0]),
        edge_groups(out_start, out_target, out_edge, p.shape[0]),
        (
            *(p.data_ptr(), q.data_ptr(), address(weight), address(bias), address(out), address(best)),
            *(hidden, hidden if weight is None else weight.shape[0], ACTIVATION_CODES[activation]),
            *(_extension.DTYPE_CODES[p.dtype], torch.get_num_threads()),
        ),
    )


def dense(args: tuple) -> tuple:
    p, q, weight, bias, *rest = args
    dense = [None if tensor is None else tensor.contiguous() for tensor in (p, q, weight, bias)]
    return (*dense, *rest)


def forward(*args):
    from nnzoo_fast.ops.edge_mlp import allocate

    *args, training = args
    out, best = allocate(*args, training)
    if out.numel() == 0:
        return out, best
    args, reduce = dense(tuple(args)), args[-1]
    kernel = _extension._C
    if reduce == "max":
        check_indices(kernel.edge_mlp_max(*packed(args, args[2], args[3], out, best if training else None)))
    else:
        check_indices(kernel.edge_mlp_sum(*packed(args, None, None, out, None), reduce == "mean"))
    return out, best


def backward(grads, args, outputs, needs):
    args, best = dense(args), outputs[1]
    p, q, weight, bias, in_start, *_, reduce = args
    # A weight's gradient is found on the way to that of p, and a bias is not read there.
    found = [p.new_empty(t.shape) if needed else None for t, needed in zip(args[:4], needs, strict=False)]
    none = (None,) * (len(needs) - 4)
    outputs_count = p.shape[1] if weight is None else weight.shape[0]
    if in_start.shape[0] == 1 or q.shape[0] == 0 or outputs_count == 0:
        return (*(None if grad is None else grad.zero_() for grad in found), *none)
    grad = grads[0]
    if reduce == "mean":
        grad = grad / in_start.diff().clamp(min=1)[:, None].to(grad.dtype)
    grad = grad.contiguous()
    kernel = _extension._C.edge_mlp_max_backward if reduce == "max" else _extension._C.edge_mlp_sum_backward
    call = packed(args, weight, None, None, best if reduce == "max" else None)
    check_indices(kernel(*call, grad.data_ptr(), *map(address, found)))
    return (*found, *none)
