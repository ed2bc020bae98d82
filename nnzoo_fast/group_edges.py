"""Edges grouped by one of their ends: what a `Graph` is made of."""

from __future__ import annotations

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import address
from nnzoo_fast.front_door import EAGER, OPS, route

_library = torch.library.Library("nnzoo_fast", "FRAGMENT")
_library.define(
    "group_edges(Tensor edge_index, int key, SymInt num_groups, SymInt num_nodes) -> (Tensor, Tensor, Tensor)"
)

Groups = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def group_edges(edge_index: torch.Tensor, key: int, num_groups: int, num_nodes: int) -> Groups:
    """The edges grouped by row `key` of `edge_index`; inside a group they keep their order.

    Args:
        edge_index: int64 [2, E].
        num_groups: the size of the range of row `key`.
        num_nodes: the size of the range of the other row.

    Returns:
        start: int32 [num_groups + 1], group g holds positions start[g] to start[g + 1].
        node: int32 [E], the node at the other end of each edge.
        edge: int32 [E], the edge's place in `edge_index`.

    Raises:
        IndexError: an index out of range.
    """
    if route((edge_index,)) is OPS:
        return torch.ops.nnzoo_fast.group_edges(edge_index, key, num_groups, num_nodes)
    return _group_edges(edge_index, key, num_groups, num_nodes)


def _group_edges(edge_index: torch.Tensor, key: int, num_groups: int, num_nodes: int) -> Groups:
    sizes = (num_groups, num_nodes) if key == 0 else (num_nodes, num_groups)
    if edge_index.device.type != "cpu" or _extension._C is None or route((edge_index,)) is not EAGER:
        return _group_by_sorting(edge_index, key, sizes)
    edge_index = edge_index.contiguous()
    start, node, edge = _empty(edge_index, key, num_groups, num_nodes)
    invalid = _extension._C.group_edges(
        address(edge_index[key]),
        address(edge_index[1 - key]),
        address(start),
        address(node),
        address(edge),
        edge_index.shape[1],
        num_groups,
        num_nodes,
        torch.get_num_threads(),
    )
    if invalid >= 0:
        raise _out_of_range(edge_index, invalid, sizes)
    return start, node, edge


def _group_by_sorting(edge_index: torch.Tensor, key: int, sizes: tuple[int, int]) -> Groups:
    """The same in PyTorch's own operators, for other devices and without the extension."""
    limit = torch.tensor(sizes, device=edge_index.device)[:, None]
    outside = ((edge_index < 0) | (edge_index >= limit)).any(0)
    if outside.any():
        raise _out_of_range(edge_index, int(outside.nonzero()[0]), sizes)
    order = edge_index[key].argsort(stable=True)
    counts = edge_index[key].bincount(minlength=sizes[key])
    start = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    return start.int(), edge_index[1 - key][order].int(), order.int()


def _out_of_range(edge_index: torch.Tensor, edge: int, sizes: tuple[int, int]) -> IndexError:
    row = 0 if not 0 <= edge_index[0, edge] < sizes[0] else 1
    role = ("source", "target")[row]
    return IndexError(
        f"Graph: edge_index[{row}, {edge}] is {int(edge_index[row, edge])}, "
        f"expected a {role} in 0 <= index < {sizes[row]}, the number of {role} nodes"
    )


def _empty(edge_index: torch.Tensor, key: int, num_groups: int, num_nodes: int) -> Groups:
    def new(size):
        return edge_index.new_empty((size,), dtype=torch.int32)

    return new(num_groups + 1), new(edge_index.shape[1]), new(edge_index.shape[1])


_library.impl("group_edges", _group_edges, "CompositeExplicitAutograd")
_library.impl("group_edges", _empty, "Meta")
