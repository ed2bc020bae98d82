"""How others pass messages, for the benchmarks to measure against. What a peer can't do, it refuses."""

import torch

from nnzoo_fast.ops.gather_scatter.reference import along_first


def indexing(x, graph, edge_weight=None, reduce="sum"):
    """What one writes first, `zeros.index_add_` of `x[source]`: only sums and means without weights."""
    if reduce not in ("sum", "mean") or edge_weight is not None or graph.edge_weight is not None:
        raise NotImplementedError("index_add_ sums rows as they are")
    source, target = graph.edge_index
    total = x.new_zeros((graph.num_targets, *x.shape[1:])).index_add_(0, target, x[source])
    return total if reduce == "sum" else total / along_first(graph.in_degree.clamp(min=1), total)


def torch_geometric(x, graph, edge_weight=None, reduce="sum"):
    """PyTorch Geometric's `MessagePassing` on an edge_index: gather, weigh, and its `scatter`."""
    from torch_geometric.utils import scatter

    source, target = graph.edge_index
    weight = graph.edge_weight if edge_weight is None else edge_weight
    messages = x.index_select(0, source)
    if weight is not None:
        messages = messages * along_first(weight, messages)
    return scatter(messages, target, 0, graph.num_targets, reduce)


def sparse_product(x, graph, edge_weight=None, reduce="sum"):
    """torch's product of a CSR matrix, whose indices the graph has at hand, with x [N, F]: only sums."""
    if reduce != "sum":
        raise NotImplementedError(f"a matrix product sums, it has no {reduce}")
    weight = graph.edge_weight if edge_weight is None else edge_weight
    values = x.new_ones(graph.num_edges) if weight is None else weight[graph.in_edge]
    shape = (graph.num_targets, graph.num_sources)
    return torch.sparse_csr_tensor(graph.in_start, graph.in_source, values, shape, check_invariants=False) @ x
