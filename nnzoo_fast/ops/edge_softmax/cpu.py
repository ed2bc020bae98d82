"""`edge_softmax` on the kernels of `csrc/ops/edge_softmax/`."""

import math

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.gather_scatter.cpu import check_indices, edge_groups


def supports(scores, *groups) -> Verdict:
    return cpu_supports(scores, "edge_softmax_forward")


def pays(scores, *groups) -> Verdict:
    return True, "a target's scores stay in the cache from the maximum to the quotient"


def forward(scores, in_start, in_source, in_edge, *rest):
    out = scores.new_empty(scores.shape)
    if out.numel() > 0:
        scores = scores.contiguous()
        _run("edge_softmax_forward", in_start, in_source, in_edge, rest[0], scores, out)
    return (out,)


def backward(grads, args, outputs, needs):
    _, in_start, in_source, in_edge, out_start, *_ = args
    grad_scores = grads[0].new_empty(grads[0].shape)
    if grad_scores.numel() > 0:
        grad = grads[0].contiguous()
        _run("edge_softmax_backward", in_start, in_source, in_edge, out_start, grad, outputs[0], grad_scores)
    return (grad_scores, *(None,) * (len(needs) - 1))


def _run(kernel, in_start, in_source, in_edge, out_start, *tensors) -> None:
    valid = getattr(_extension._C, kernel)(
        edge_groups(in_start, in_source, in_edge, out_start.shape[0] - 1),
        *(tensor.data_ptr() for tensor in tensors),
        math.prod(tensors[0].shape[1:]),
        _extension.DTYPE_CODES[tensors[0].dtype],
        torch.get_num_threads(),
    )
    check_indices(valid)
