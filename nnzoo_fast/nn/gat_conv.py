"""`GATConv` and `GATv2Conv`: graph attention, PyTorch Geometric's arguments and parameters."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import dropout, leaky_relu

from nnzoo_fast import ops
from nnzoo_fast.graph import Graph
from nnzoo_fast.nn.linear import Linear
from nnzoo_fast.nn.message_passing import MessagePassing
from nnzoo_fast.ops.gat.reference import softmax_of_groups


class AttentionConv(MessagePassing):
    """What `GATConv` and `GATv2Conv` share: self-loops, the result's bias and residual, the weights on request."""

    def __init__(self, in_channels, out_channels, heads, concat, slope, drop, add_self_loops, edge_dim, fill, **kwargs):
        kwargs.setdefault("aggr", "add")
        super().__init__(node_dim=0, **kwargs)
        if self.aggr not in ("add", "sum"):
            raise ValueError(f"{type(self).__name__}: aggr is {self.aggr!r}, expected 'add'")
        self.in_channels, self.out_channels, self.heads, self.concat = in_channels, out_channels, heads, concat
        self.negative_slope, self.dropout, self.add_self_loops = slope, drop, add_self_loops
        self.edge_dim, self.fill_value = edge_dim, fill

    def _make_result(self, bias: bool, residual: bool) -> None:
        total = self.out_channels * (self.heads if self.concat else 1)
        last = self.in_channels if isinstance(self.in_channels, int) else self.in_channels[1]
        if residual:
            self.res = Linear(last, total, bias=False)
        else:
            self.register_parameter("res", None)
        self.register_parameter("bias", torch.nn.Parameter(torch.empty(total)) if bias else None)

    def _rows(self, linear: torch.nn.Module, x: torch.Tensor | None) -> torch.Tensor | None:
        if x is None:
            return None
        if x.dim() != 2:
            raise ValueError(f"{type(self).__name__}: features are {list(x.shape)}, expected rows of nodes or edges")
        return linear(x).view(-1, self.heads, self.out_channels)

    def _graph(self, edge_index, edge_attr, num_sources: int, num_targets: int, size):
        """The graph that messages take, with self-loops if asked for, and the features of its edges."""
        graph = edge_index
        if not isinstance(graph, Graph):
            graph = Graph(edge_index, (num_sources, num_targets))
        graph = graph if self.flow == "source_to_target" else graph.reverse()
        if edge_attr is not None:
            edge_attr = edge_attr.view(-1, 1) if edge_attr.dim() == 1 else edge_attr
            if edge_attr.shape[0] != graph.num_edges:
                name = type(self).__name__
                raise ValueError(f"{name}: edge_attr is {list(edge_attr.shape)}, expected {graph.num_edges} rows")
        if not self.add_self_loops:
            return graph, edge_attr
        count = min(num_sources, num_targets) if size is None else min(size)
        looped, others = graph.with_self_loops(count)
        if edge_attr is None:
            return looped, None
        edge_attr = edge_attr[others]
        return looped, torch.cat([edge_attr, self._loop_features(edge_attr, looped, count)])

    def _loop_features(self, edge_attr: torch.Tensor, looped: Graph, count: int) -> torch.Tensor:
        if isinstance(self.fill_value, str):
            target = looped.edge_index[1, : edge_attr.shape[0]]
            return ops.scatter(edge_attr, target, 0, looped.num_targets, self.fill_value)[:count]
        if isinstance(self.fill_value, torch.Tensor):
            return self.fill_value.to(edge_attr).expand(count, *edge_attr.shape[1:])
        return edge_attr.new_full((count, *edge_attr.shape[1:]), self.fill_value)

    def _weighed(self, x: torch.Tensor, scores: torch.Tensor, graph: Graph):
        """The result and the weights themselves, [E, heads] in the order of the graph's `edge_index`."""
        weights = softmax_of_groups(scores, graph.edge_index[1], graph.in_degree)
        weights = dropout(weights, self.dropout, self.training)
        return ops.gather_scatter(x, graph.with_weight(None), weights), weights

    def _finish(self, out: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        out = out.flatten(1) if self.concat else out.mean(dim=1)
        if residual is not None:
            out = out + residual
        return out if self.bias is None else out + self.bias

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}, heads={self.heads})"


class GATConv(AttentionConv):
    """x'[i] = sum over j of a[i, j] * W x[j], a the softmax of leaky_relu(<att_src, W x[j]> + <att_dst, W x[i]>).

    `torch_geometric.nn.GATConv`; Velickovic et al., "Graph attention networks".

    Args:
        in_channels: features of a node, or (of a source, of a target) with a weight matrix each.
        out_channels: features of a head.
        heads: how many attend apart.
        concat: concatenate the heads' results, else take their mean.
        negative_slope: of leaky_relu.
        dropout: the probability with which a weight a is dropped in training.
        add_self_loops: each node attends to itself, once.
        edge_dim: features of an edge, which take part in scores.
        fill_value: the features of self-loops: a number, a tensor, or how to reduce those of a node's edges ("mean").
        bias: add a learnt bias.
        residual: add a learnt linear function of the target's features.
        kwargs: arguments of `MessagePassing`; `aggr` is "add".

    Shapes:
        x [N, in_channels] or a pair for sources and targets, of which the second may be None; edge_index integer [2, E]
        or a `Graph`; edge_attr [E, edge_dim]; size the numbers of sources and targets ->
        [N, heads * out_channels], or [N, out_channels] without `concat`; with `return_attention_weights` also
        (edge_index with self-loops, weights [E, heads]).
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        edge_dim: int | None = None,
        fill_value: float | torch.Tensor | str = "mean",
        bias: bool = True,
        residual: bool = False,
        **kwargs,
    ):
        options = (negative_slope, dropout, add_self_loops, edge_dim, fill_value)
        super().__init__(in_channels, out_channels, heads, concat, *options, **kwargs)
        self.lin = self.lin_src = self.lin_dst = None
        if isinstance(in_channels, int):
            self.lin = Linear(in_channels, heads * out_channels, bias=False)
        else:
            self.lin_src = Linear(in_channels[0], heads * out_channels, bias=False)
            self.lin_dst = Linear(in_channels[1], heads * out_channels, bias=False)
        self.att_src = torch.nn.Parameter(torch.empty(1, heads, out_channels))
        self.att_dst = torch.nn.Parameter(torch.empty(1, heads, out_channels))
        self.lin_edge = None
        self.register_parameter("att_edge", None)
        if edge_dim is not None:
            self.lin_edge = Linear(edge_dim, heads * out_channels, bias=False)
            self.att_edge = torch.nn.Parameter(torch.empty(1, heads, out_channels))
        self._make_result(bias, residual)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot's uniform distribution, zeros for the bias."""
        super().reset_parameters()
        for linear in (self.lin, self.lin_src, self.lin_dst, self.lin_edge, self.res):
            draw(linear)
        for att in (self.att_src, self.att_dst, self.att_edge):
            glorot(att)
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(
        self,
        x: torch.Tensor | tuple[torch.Tensor, torch.Tensor | None],
        edge_index: torch.Tensor | Graph,
        edge_attr: torch.Tensor | None = None,
        size: tuple[int, int] | None = None,
        return_attention_weights: bool | None = None,
    ):
        pair = x if isinstance(x, (tuple, list)) else (x, x)
        residual = None if self.res is None or pair[1] is None else self.res(pair[1])
        if self.lin is not None:
            source = self._rows(self.lin, pair[0])
            target = source if pair[1] is pair[0] else self._rows(self.lin, pair[1])
        else:
            source, target = self._rows(self.lin_src, pair[0]), self._rows(self.lin_dst, pair[1])
        targets = num_targets(target, size, edge_index, source.shape[0])
        graph, edge_attr = self._graph(edge_index, edge_attr, source.shape[0], targets, size)
        if target is source:
            from_source, from_target = head_products(source, self.att_src, self.att_dst)
        else:
            (from_source,) = head_products(source, self.att_src)
            from_target = None if target is None else head_products(target, self.att_dst)[0]
        from_edge = None
        if edge_attr is not None and self.lin_edge is not None:
            (from_edge,) = head_products(self._rows(self.lin_edge, edge_attr), self.att_edge)
        if return_attention_weights is None:
            drop = self.dropout if self.training else 0.0
            out = ops.gat(source, from_source, from_target, graph, from_edge, self.negative_slope, drop)
            return self._finish(out, residual)
        inside = from_source[graph.edge_index[0]]
        inside = inside if from_target is None else inside + from_target[graph.edge_index[1]]
        inside = inside if from_edge is None else inside + from_edge
        out, weights = self._weighed(source, leaky_relu(inside, self.negative_slope), graph)
        return self._finish(out, residual), (self._as_given(graph), weights)

    def _as_given(self, graph: Graph) -> torch.Tensor:
        return graph.edge_index if self.flow == "source_to_target" else graph.edge_index.flip(0)


class GATv2Conv(GATConv):
    """x'[i] = sum over j of a[i, j] * L x[j], a the softmax of <att, leaky_relu(L x[j] + R x[i])>.

    `torch_geometric.nn.GATv2Conv`; Brody et al., "How attentive are graph attention networks?"

    Args:
        share_weights: R is L.
        others: those of `GATConv`; with `bias`, L and R have one too.

    Shapes:
        as `GATConv`, without `size`; a pair's second part must be there.

    Raises:
        ValueError: an `edge_attr` without `edge_dim`, which `GATConv` leaves unread; PyTorch Geometric refuses it too.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        edge_dim: int | None = None,
        fill_value: float | torch.Tensor | str = "mean",
        bias: bool = True,
        share_weights: bool = False,
        residual: bool = False,
        **kwargs,
    ):
        options = (negative_slope, dropout, add_self_loops, edge_dim, fill_value)
        AttentionConv.__init__(self, in_channels, out_channels, heads, concat, *options, **kwargs)
        self.share_weights = share_weights
        sizes = (in_channels, in_channels) if isinstance(in_channels, int) else in_channels
        self.lin_l = Linear(sizes[0], heads * out_channels, bias=bias)
        self.lin_r = self.lin_l if share_weights else Linear(sizes[1], heads * out_channels, bias=bias)
        self.att = torch.nn.Parameter(torch.empty(1, heads, out_channels))
        self.lin_edge = None if edge_dim is None else Linear(edge_dim, heads * out_channels, bias=False)
        self._make_result(bias, residual)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot's uniform distribution for the weights, zeros for the bias of the result."""
        MessagePassing.reset_parameters(self)
        for linear in (self.lin_l, self.lin_r, self.lin_edge, self.res):
            draw(linear)
        glorot(self.att)
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(
        self,
        x: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
        edge_index: torch.Tensor | Graph,
        edge_attr: torch.Tensor | None = None,
        return_attention_weights: bool | None = None,
    ):
        if edge_attr is not None and self.lin_edge is None:
            raise ValueError(f"{type(self).__name__}: edge_attr was given, expected None without an edge_dim")
        pair = x if isinstance(x, (tuple, list)) else (x, x)
        residual = None if self.res is None else self.res(pair[1])
        source = self._rows(self.lin_l, pair[0])
        shared = self.share_weights and pair[1] is pair[0]
        target = source if shared else self._rows(self.lin_r, pair[1])
        graph, edge_attr = self._graph(edge_index, edge_attr, source.shape[0], target.shape[0], None)
        edge = None if edge_attr is None else self._rows(self.lin_edge, edge_attr)
        if return_attention_weights is None:
            drop = self.dropout if self.training else 0.0
            out = ops.gatv2(source, target, self.att[0], graph, edge, self.negative_slope, drop)
            return self._finish(out, residual)
        inside = source[graph.edge_index[0]] + target[graph.edge_index[1]]
        inside = inside if edge is None else inside + edge
        scores = (leaky_relu(inside, self.negative_slope) * self.att).sum(-1)
        out, weights = self._weighed(source, scores, graph)
        return self._finish(out, residual), (self._as_given(graph), weights)


def head_products(rows: torch.Tensor, *atts: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Of each of `atts` [1, H, C], its product with `rows` [N, H, C] head by head: [N, H].

    They are one product with a matrix that is zero between different heads: its forward and its backward read the rows
    once, where a broadcast product and its sum would write and read them several times.
    """
    heads, channels = rows.shape[1:]
    same_head = torch.eye(heads, dtype=rows.dtype, device=rows.device)[:, :, None]
    matrix = torch.cat([att.to(rows.dtype) * same_head for att in atts]).reshape(len(atts) * heads, heads * channels)
    return ops.linear(rows.flatten(1), matrix).unflatten(1, (len(atts), heads)).unbind(1)


def num_targets(target: torch.Tensor | None, size, edge_index, num_sources: int) -> int:
    """The number of targets, which may have no features."""
    if target is not None:
        return target.shape[0]
    if isinstance(edge_index, Graph):
        return edge_index.num_targets
    return num_sources if size is None else size[1]


def glorot(weight: torch.Tensor | None) -> None:
    """Draws from Glorot and Bengio's uniform distribution; the last two dimensions are those of a matrix."""
    if weight is not None:
        bound = math.sqrt(6.0 / (weight.shape[-2] + weight.shape[-1]))
        with torch.no_grad():
            weight.uniform_(-bound, bound)


def draw(linear: torch.nn.Linear | None) -> None:
    """A linear layer's weight by `glorot`, its bias as torch.nn draws it."""
    if linear is not None:
        glorot(linear.weight)
        if linear.bias is not None:
            bound = 1 / math.sqrt(linear.in_features)
            torch.nn.init.uniform_(linear.bias, -bound, bound)
