"""`linear_cross_entropy` on the kernel of `csrc/ops/linear_cross_entropy`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.cross_entropy.cpu import check_targets
from nnzoo_fast.ops.cross_entropy.reference import REDUCTIONS

CHUNK_BYTES = 2**26
"""Scores that are there at a time, if rows enough are among them."""
FEWEST_ROWS, ROWS_ENOUGH = 64, 768
"""Each chunk packs the weight twice and adds to its gradient. As many rows as there are features have no more scores
than the weight has values: up to there they are worth the memory."""
FEW_SCORES = 2**22
"""So many scores fit in the last-level cache, and nothing is gained."""


def supports(input, weight, bias, target, reduction, ignore_index, label_smoothing) -> Verdict:
    if reduction == "none":
        return False, "gradients are summed with the loss, so each row's own can't be weighted afterwards"
    if target.dtype != torch.int64:
        return False, f"target is {target.dtype}, not torch.int64"
    if weight.shape[0] == 0 or weight.shape[1] == 0:
        return False, f"weight {list(weight.shape)} is empty"
    return cpu_supports(input, "linear_cross_entropy")


def pays(input, weight, bias, target, reduction, ignore_index, label_smoothing) -> Verdict:
    if input.shape[0] * weight.shape[0] < FEW_SCORES:
        return False, f"fewer than {FEW_SCORES} scores: they fit in the cache"
    return True, "scores are never all there; their gradient is used while it is in the cache"


def allocate(input, weight, bias, target, reduction, ignore_index, label_smoothing, training):
    """The loss; for backward its gradients."""
    if not training:
        return input.new_empty(()), None, None, None
    grad_bias = input.new_empty((0,) if bias is None else bias.shape)
    return input.new_empty(()), input.new_empty(input.shape), weight.new_empty(weight.shape), grad_bias


def forward(input, weight, bias, target, reduction, ignore_index, label_smoothing, training, chunk_rows=None):
    outputs = allocate(input, weight, bias, target, reduction, ignore_index, label_smoothing, training)
    loss, *gradients = outputs
    wanted = [tensor is not None and tensor.requires_grad for tensor in (input, weight, bias)]
    if not any(wanted):  # below autograd nobody tells
        wanted = [True, True, bias is not None]
    gradients = [gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)]
    (rows, features), classes = input.shape, weight.shape[0]
    if chunk_rows is None:
        enough = max(FEWEST_ROWS, min(features, ROWS_ENOUGH))
        chunk_rows = max(enough, CHUNK_BYTES // (input.element_size() * classes) // 16 * 16)
    chunk_rows = max(1, min(rows, chunk_rows))
    sums = None
    if gradients[1] is not None:
        if input.dtype == torch.bfloat16:
            sums = torch.empty(weight.shape, dtype=torch.float32)
        if rows == 0:
            gradients[1].zero_()
    input, weight, target = input.contiguous(), weight.contiguous(), target.contiguous()
    bias = bias if bias is None else bias.contiguous()
    check_targets(target, classes, ignore_index)
    chunk = input.new_empty((chunk_rows, classes))
    _extension._C.linear_cross_entropy(
        *map(address, (input, weight, bias, target, loss, *gradients, chunk, sums)),
        rows,
        features,
        classes,
        chunk_rows,
        ignore_index,
        label_smoothing,
        REDUCTIONS.index(reduction),
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )
    return outputs


def backward(grads, args, outputs, needs):
    """The gradients are there; a sum is linear in what comes from outside."""
    return *(
        gradient * grads[0] if needed else None for gradient, needed in zip(outputs[1:], needs[:3], strict=True)
    ), None
