"""`scatter` on the kernels of `gather_scatter`: the rows are messages that are there already, one for each edge."""

import math

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.gather_scatter.cpu import WALKS, edge_groups, rows_of
from nnzoo_fast.ops.gather_scatter.reference import REDUCES, rows_kept


def supports(src, index, dim_size, reduce) -> Verdict:
    return cpu_supports(src, "gather_scatter_forward")


def pays(src, index, dim_size, reduce) -> Verdict:
    return True, "sorts the index, then adds up rows in registers"


def forward(src, index, dim_size, reduce, training):
    from nnzoo_fast.ops.scatter import allocate

    out, _, _ = allocate(src, index, dim_size, reduce, False)
    _, start, order = allocate(src, index, dim_size, reduce, True)
    index, count = index.contiguous(), index.shape[0]
    threads = torch.get_num_threads()
    invalid = _extension._C.group_edges(
        index.data_ptr(), 0, start.data_ptr(), 0, order.data_ptr(), count, dim_size, count, threads
    )
    if invalid >= 0:
        raise RuntimeError(f"scatter: index[{invalid}] is {int(index[invalid])}, expected 0 <= index < {dim_size}")
    if out.numel() > 0:
        rows = rows_of(src)
        groups = edge_groups(start, order, order, count)
        _extension._C.gather_scatter_forward(
            groups,
            groups,
            rows.data_ptr(),
            0,
            out.data_ptr(),
            [REDUCES.index(reduce)],
            rows.shape[1],
            rows.stride(0),
            1,
            WALKS.index("tiled"),
            _extension.DTYPE_CODES[src.dtype],
            threads,
        )
    return (out, start, order) if training else (out, start[:0], order[:0])


def backward(grads, args, outputs, needs):
    src, index, dim_size, reduce = args
    out, start, order = outputs
    grad_src = grads[0].new_empty(src.shape)
    if grad_src.numel() == 0:
        return grad_src, None
    kept = rows_kept(reduce)
    rows = rows_of(src) if kept else None
    grad = grads[0].contiguous()
    features, count = math.prod(src.shape[1:]), index.shape[0]
    compute = torch.float64 if grad.dtype == torch.float64 else torch.float32
    share = grad.new_empty((kept, dim_size, features), dtype=compute)
    target = index.to(torch.int32)
    each = torch.arange(count + 1, dtype=torch.int32)
    _extension._C.gather_scatter_backward(
        edge_groups(start, order, order, count),
        edge_groups(each, target, each, dim_size),
        grad.data_ptr(),
        rows.data_ptr() if kept else 0,
        0,
        address(out),
        share.data_ptr(),
        grad_src.data_ptr(),
        0,
        [REDUCES.index(reduce)],
        features,
        rows.stride(0) if kept else features,
        1,
        _extension.DTYPE_CODES[grad.dtype],
        torch.get_num_threads(),
    )
    return grad_src, None
