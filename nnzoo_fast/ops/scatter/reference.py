"""What `scatter` means."""

import torch

from nnzoo_fast.ops.gather_scatter.reference import reduce_messages


def reference(src, index, dim_size, reduce="sum"):
    """`src` [E, *F] reduced by `index` [E] to [dim_size, *F]."""
    count = index.new_zeros(dim_size).index_add(0, index, torch.ones_like(index))
    return reduce_messages(src, index, count, reduce)
