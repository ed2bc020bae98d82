"""`embedding_bag` on the kernels of `gather_scatter`: bags are targets, rows of the table sources, indices edges."""

import math

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports, wants_gradients
from nnzoo_fast.ops.embedding.cpu import LEAST_VALUES
from nnzoo_fast.ops.embedding_bag import largest
from nnzoo_fast.ops.gather_scatter.cpu import WALKS, check_indices, edge_groups, rows_of
from nnzoo_fast.ops.gather_scatter.reference import REDUCES, group_of_each


def supports(weight, indices, offsets, per_sample_weights, mode, padding_idx) -> Verdict:
    if max(weight.shape[0], offsets.shape[0], math.prod(indices.shape)) >= 2**31:
        return False, "2^31 rows, bags or indices and more"
    return cpu_supports(weight, "gather_scatter_forward")


def pays(weight, indices, offsets, per_sample_weights, mode, padding_idx) -> Verdict:
    if mode != "max" and not wants_gradients(weight, per_sample_weights):
        return False, "without a gradient stock torch does the same"
    if math.prod(indices.shape) * weight.shape[1] < LEAST_VALUES:
        return False, f"less than {LEAST_VALUES} values are asked for"
    return True, "the gradient is sorted, and each row of it written once"


class Bags:
    """The indices that count, and where the bags of these begin; `place`: where they stand among all, if not all do."""

    def __init__(self, weight, indices, offsets, per_sample_weights, padding_idx):
        self.rows = weight.shape[0]
        check_offsets(offsets, indices.shape[0])
        indices = indices[: int(offsets[-1])]
        check_rows(indices, self.rows)
        start, indices = offsets.to(torch.int32), indices.to(torch.int32)
        self.weights, self.place = per_sample_weights, None
        counts = indices != padding_idx
        if padding_idx >= 0 and not bool(counts.all()):
            before = torch.nn.functional.pad(counts.cumsum(0, dtype=torch.int32), (1, 0))
            start, self.place = before[start.long()], counts.nonzero()[:, 0]
            indices = indices[self.place]
        if self.weights is not None:
            self.weights = self.weights[: counts.shape[0]].contiguous()
            self.weights = self.weights if self.place is None else self.weights[self.place]
        self.start, self.indices = start.contiguous(), indices.contiguous()
        self.order = torch.arange(indices.shape[0], dtype=torch.int32)

    def by_bag(self) -> tuple:
        return edge_groups(self.start, self.indices, self.order, self.rows)


def check_offsets(offsets, count: int) -> None:
    """Offsets, like indices, are checked before they become int32, which makes 1 of 2^32 + 1."""
    if offsets.shape[0] == 0 or int(offsets[0]) != 0 or not 0 <= int(offsets[-1]) <= count:
        raise RuntimeError(f"embedding_bag: offsets must rise from 0 to at most {count}, the number of indices")
    if bool((offsets[1:] < offsets[:-1]).any()):
        raise RuntimeError("embedding_bag: offsets decrease")


def check_rows(indices, rows: int) -> None:
    if indices.numel() == 0:
        return
    least, most = map(int, indices.aminmax())
    if least < 0 or most >= rows:
        found = least if least < 0 else most
        raise IndexError(f"embedding_bag: index {found} is out of range, expected 0 <= index < {rows}")


def forward(weight, indices, offsets, per_sample_weights, mode, padding_idx, training):
    from nnzoo_fast.ops.embedding_bag import allocate

    out, place = allocate(weight, indices, offsets, per_sample_weights, mode, padding_idx, training)
    bags = Bags(weight, indices, offsets, per_sample_weights, padding_idx)
    if out.numel() > 0 and mode == "max":
        largest.forward(weight, bags, out, place)
    elif out.numel() > 0:
        rows = rows_of(weight)
        valid = _extension._C.gather_scatter_forward(
            bags.by_bag(),
            bags.by_bag(),
            rows.data_ptr(),
            address(bags.weights),
            out.data_ptr(),
            [REDUCES.index(mode)],
            rows.shape[1],
            rows.stride(0),
            1,
            WALKS.index("tiled"),
            _extension.DTYPE_CODES[weight.dtype],
            torch.get_num_threads(),
        )
        check_indices(valid)
    return out, place


def backward(grads, args, outputs, needs):
    weight, indices, offsets, per_sample_weights, mode, padding_idx = args
    bags = Bags(weight, indices, offsets, per_sample_weights, padding_idx)
    count, num_bags = bags.indices.shape[0], bags.start.shape[0] - 1
    grad, threads = grads[0].contiguous(), torch.get_num_threads()
    grad_weight = grad.new_empty(weight.shape) if needs[0] else None
    grad_each = grad.new_empty((count,)) if needs[3] else None
    if weight.numel() == 0 or num_bags == 0 or count == 0:
        zeros = None if not needs[3] else torch.zeros_like(per_sample_weights)
        return (None if grad_weight is None else grad_weight.zero_(), None, None, zeros)
    start, node, order = (bags.start.new_empty(size) for size in (weight.shape[0] + 1, count, count))
    bag = group_of_each(bags.start, count)
    _extension._C.group_edges(
        *map(address, (numbers := bags.indices.long(), bag, start, node, order)),
        numbers.shape[0],
        weight.shape[0],
        num_bags,
        threads,
    )
    if mode == "max":
        largest.backward(grad, (start, node, order), outputs[1], grad_weight)
        return (grad_weight, None, None, None)
    rows = rows_of(weight) if needs[3] else None
    valid = _extension._C.gather_scatter_backward(
        bags.by_bag(),
        edge_groups(start, node, order, num_bags),
        grad.data_ptr(),
        address(rows),
        address(bags.weights),
        0,
        0,
        address(grad_weight),
        address(grad_each),
        [REDUCES.index(mode)],
        weight.shape[1],
        weight.shape[1] if rows is None else rows.stride(0),
        1,
        _extension.DTYPE_CODES[grad.dtype],
        threads,
    )
    check_indices(valid)
    if grad_each is not None and grad_each.shape != per_sample_weights.shape:
        whole = torch.zeros_like(per_sample_weights)
        place = slice(0, count) if bags.place is None else bags.place
        whole[place] = grad_each
        grad_each = whole
    return (grad_weight, None, None, grad_each)
