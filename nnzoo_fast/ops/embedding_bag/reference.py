"""What `embedding_bag` means."""

import torch

from nnzoo_fast.ops.gather_scatter.reference import group_of_each


def reference(weight, indices, offsets, per_sample_weights, mode, padding_idx):
    """The sum, mean or maximum over each bag of the rows of `weight` that its `indices` number but `padding_idx`."""
    indices, counts = indices[: int(offsets[-1])], (indices != padding_idx)[: int(offsets[-1])]
    bag = group_of_each(offsets, indices.shape[0])
    rows = weight.index_select(0, indices)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[: indices.shape[0], None]
    if mode == "max":
        return _first_of_the_largest(rows, bag, counts, offsets.shape[0] - 1)
    rows = torch.where(counts[:, None], rows, 0)
    total = rows.new_zeros((offsets.shape[0] - 1, rows.shape[1])).index_add(0, bag, rows)
    if mode == "sum":
        return total
    size = bag.new_zeros(total.shape[0]).index_add(0, bag, counts.long())
    return total / size.clamp(min=1)[:, None].to(total.dtype)


def _first_of_the_largest(rows, bag, counts, num_bags):
    shape, index = (num_bags, rows.shape[1]), bag[:, None].expand(rows.shape)
    values = torch.where(counts[:, None], rows.detach(), -torch.inf)
    best = values.new_full(shape, -torch.inf).scatter_reduce(0, index, values, "amax")
    place = torch.arange(rows.shape[0], device=rows.device)[:, None]
    place = torch.where(counts[:, None] & (values == best[bag]), place, rows.shape[0])
    first = bag.new_full(shape, rows.shape[0]).scatter_reduce(0, index, place, "amin")
    return torch.cat([rows, rows.new_zeros(1, rows.shape[1])]).gather(0, first)
