"""The kernels of `csrc/ops/gat/`, which `gat` and `gatv2` share."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import address
from nnzoo_fast.ops.gather_scatter.cpu import check_indices, edge_groups


class Call:
    """The arguments of one call as the kernels take them; `source` is None for gatv2, `att` for gat."""

    def __init__(self, x, source, target, edge, att, groups, slope, dropout, seed):
        self.x, self.source, self.target, self.edge, self.att = (
            None if tensor is None else tensor.contiguous() for tensor in (x, source, target, edge, att)
        )
        in_start, in_source, in_edge, out_start, out_target, out_edge = groups
        self.num_sources, self.num_targets, self.num_edges = x.shape[0], in_start.shape[0] - 1, in_edge.shape[0]
        self.heads, self.channels = x.shape[1:]
        self.compute = torch.float64 if x.dtype == torch.float64 else torch.float32
        self.edges = (
            edge_groups(in_start, in_source, in_edge, self.num_sources),
            edge_groups(out_start, out_target, out_edge, self.num_targets),
        )
        self.layer = (
            *map(address, (self.x, self.source, self.target, self.edge, self.att)),
            self.heads,
            self.channels,
            slope,
            0.0 if seed is None else dropout,
            0 if seed is None else int(seed),
            _extension.DTYPE_CODES[x.dtype],
            torch.get_num_threads(),
        )

    def forward(self, out: torch.Tensor, normal: torch.Tensor | None, positive: torch.Tensor | None = None) -> None:
        if out.numel() > 0:
            results = out.data_ptr(), address(normal), address(positive)
            check_indices(_extension._C.gat_forward(*self.edges, self.layer, *results))

    def backward(self, grad, needs_edge: bool, out, normal, positive=None):
        """The gradients of x, source or None, target, edge or None, and att or None."""
        x, att, compute = self.x, self.att, self.compute
        grad = grad.contiguous()
        rows = 4 if att is None else 3
        packed = x.new_empty((self.num_targets, rows, self.heads), dtype=compute)
        grad_score = None if att is None else x.new_empty((self.num_edges, self.heads), dtype=compute)
        grad_att = None if att is None else x.new_empty(att.shape, dtype=compute)
        empty = [torch.empty_like(tensor) if tensor is not None else None for tensor in (x, self.source, self.target)]
        empty.append(torch.empty_like(self.edge) if needs_edge else None)
        if self.heads == 0 or self.channels == 0:
            return [None if tensor is None else tensor.zero_() for tensor in (*empty, grad_att)]
        valid = _extension._C.gat_backward(
            *self.edges,
            self.layer,
            *map(address, (grad, out, normal, positive, packed, grad_score, *empty, grad_att)),
        )
        check_indices(valid)
        return (*empty, grad_att)
