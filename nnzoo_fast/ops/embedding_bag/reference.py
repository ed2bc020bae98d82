"""What `embedding_bag` means."""

import torch

from nnzoo_fast.ops.gather_scatter.reference import group_of_each


def reference(weight, indices, offsets, per_sample_weights, mode, padding_idx):
    """The sum or mean over each bag of the rows of `weight` that its `indices` number, but for row `padding_idx`."""
    indices, counts = indices[: int(offsets[-1])], (indices != padding_idx)[: int(offsets[-1])]
    bag = group_of_each(offsets, indices.shape[0])
    rows = weight.index_select(0, indices)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[: indices.shape[0], None]
    rows = torch.where(counts[:, None], rows, 0)
    total = rows.new_zeros((offsets.shape[0] - 1, rows.shape[1])).index_add(0, bag, rows)
    if mode == "sum":
        return total
    size = bag.new_zeros(total.shape[0]).index_add(0, bag, counts.long())
    return total / size.clamp(min=1)[:, None].to(total.dtype)
