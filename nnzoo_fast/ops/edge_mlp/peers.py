"""How others pass such messages, for the benchmarks to measure against."""

import torch.nn.functional as F

from nnzoo_fast.activations import activate_stock


def torch_geometric(p, q, graph, weight=None, bias=None, activation="relu", reduce="max"):
    """PyTorch Geometric's `scatter` of the edges' messages. Its `EdgeConv` also multiplies each edge's two ends."""
    from torch_geometric.utils import scatter

    source, target = graph.edge_index
    messages = activate_stock(activation, p.index_select(0, target) + q.index_select(0, source))
    if weight is not None:
        messages = F.linear(messages, weight, bias)
    return scatter(messages, target, 0, graph.num_targets, reduce)
