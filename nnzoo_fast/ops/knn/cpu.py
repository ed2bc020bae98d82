"""`knn` on the kernel of `csrc/ops/knn/`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.knn.reference import infinite_row


def supports(x, *others) -> Verdict:
    return cpu_supports(x, "knn")


def pays(x, *others) -> Verdict:
    return True, "a product finds candidates in registers, no matrix of distances is stored"


def forward(x, y, start_x, start_y, k, radius, cosine, skip_same, training):
    from nnzoo_fast.ops.knn import allocate

    index, distance = allocate(x, y, start_x, start_y, k, radius, cosine, skip_same, training)
    if index.numel() == 0:
        return index, distance
    x, y = x.contiguous(), y.contiguous()
    start_x, start_y = start_x.contiguous(), start_y.contiguous()
    for start, rows in ((start_x, x.shape[0]), (start_y, y.shape[0])):
        if int(start[0]) != 0 or int(start[-1]) != rows or bool((start.diff() < 0).any()):
            raise ValueError(f"knn: start must rise from 0 to {rows} without decreasing")
    invalid = _extension._C.knn(
        x.data_ptr(),
        y.data_ptr(),
        start_x.data_ptr(),
        start_y.data_ptr(),
        index.data_ptr(),
        distance.data_ptr(),
        *(x.shape[0], y.shape[0], x.shape[1], start_x.shape[0] - 1, k),
        *(radius, cosine, skip_same),
        _extension.DTYPE_CODES[x.dtype],
        torch.get_num_threads(),
    )
    if invalid >= 0:
        raise infinite_row("x", invalid) if invalid < x.shape[0] else infinite_row("y", invalid - x.shape[0])
    return index, distance


def backward(grads, args, outputs, needs):
    raise RuntimeError("knn: distances have no gradient; those of the pairs that were found are (x[j] - y[i]).norm()")
