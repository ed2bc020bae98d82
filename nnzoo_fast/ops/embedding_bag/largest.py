"""`embedding_bag` in mode "max", on the kernels of `csrc/ops/embedding_bag`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import address
from nnzoo_fast.ops.gather_scatter.cpu import rows_of


def forward(weight, bags, out, place) -> None:
    """Fills `out` and, unless it is None, `place`."""
    rows = rows_of(weight)
    _extension._C.embedding_bag_max_forward(
        rows.data_ptr(),
        bags.start.data_ptr(),
        bags.indices.data_ptr(),
        out.data_ptr(),
        address(place),
        *out.shape,
        rows.stride(0),
        _extension.DTYPE_CODES[weight.dtype],
        torch.get_num_threads(),
    )


def backward(grad, grouped, place, grad_weight) -> None:
    """Fills `grad_weight`; `grouped`: where the places of each row begin, their bags, and the places."""
    _extension._C.embedding_bag_max_backward(
        *map(address, (*grouped, place, grad, grad_weight)),
        *grad_weight.shape,
        _extension.DTYPE_CODES[grad.dtype],
        torch.get_num_threads(),
    )
