"""What `gather_scatter` means."""

import torch

REDUCES = ("sum", "mean", "max", "min", "mul", "var", "std", "softmax")
"""Every reduction, in the order of the codes that the kernels know."""

PLAIN_REDUCES = REDUCES[:4]
"""Those that the lower rungs of the ladder and the kernels of other devices know."""

LEAST_VARIANCE = 1e-5
"""A standard deviation is 0, and has no gradient, where the variance is not above this, as in PyTorch Geometric."""


def group_of_each(start: torch.Tensor, num_edges: int) -> torch.Tensor:
    """int64 [E]: the group of each position, from the groups' starts [G + 1]."""
    groups = torch.arange(start.shape[0] - 1, device=start.device)
    return torch.repeat_interleave(groups, start.diff(), output_size=num_edges)


def along_first(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """`values` [N, *H] with trailing dimensions of size 1, so that it broadcasts against `like` [N, *H, *F]."""
    return values.reshape(values.shape + (1,) * (like.dim() - values.dim()))


def reduce_messages(messages: torch.Tensor, target: torch.Tensor, count: torch.Tensor, reduce: str) -> torch.Tensor:
    """`messages` [E, *F] reduced by `target` [E] to [N, *F]; `count` [N] says how many messages each target has."""
    shape = (count.shape[0], *messages.shape[1:])
    count = along_first(count, messages)
    if reduce in ("sum", "mean"):
        total = messages.new_zeros(shape).index_add(0, target, messages)
        return total if reduce == "sum" else total / count.clamp(min=1).to(messages.dtype)
    index = along_first(target, messages).expand(messages.shape)
    if reduce == "mul":
        return messages.new_ones(shape).scatter_reduce(0, index, messages, "prod")
    size = count.clamp(min=1).to(messages.dtype)
    if reduce in ("var", "std"):
        mean = messages.new_zeros(shape).index_add(0, target, messages) / size
        squares = (messages - mean.index_select(0, target)).square()
        variance = messages.new_zeros(shape).index_add(0, target, squares) / size
        if reduce == "var":
            return variance
        return torch.where(variance <= LEAST_VARIANCE, 0, variance.clamp(min=LEAST_VARIANCE).sqrt())
    if reduce == "softmax":
        top = reduce_messages(messages.detach(), target, count.flatten(), "max")
        shares = (messages - top.index_select(0, target)).exp()
        total = messages.new_zeros(shape).index_add(0, target, shares)
        weighted = messages.new_zeros(shape).index_add(0, target, shares * messages)
        return weighted / torch.where(count > 0, total, 1)
    # NaN equals nothing, so what stood there before takes no part in a tie, as zeros would.
    best = messages.new_full(shape, torch.nan).scatter_reduce(0, index, messages, f"a{reduce}", include_self=False)
    return torch.where(count > 0, best, 0)


def rows_kept(reduce: str) -> int:
    """The rows of a target that backward finds before it looks at messages; `rows_kept` in passing.h."""
    return 0 if reduce in ("sum", "mean") else 1 if reduce in ("max", "min") else 2


def reference(x, edge_weight, in_start, in_source, in_edge, out_start, out_target, out_edge, reduce):
    """out[i] = reduce over edges j -> i of edge_weight * x[j]; several reductions are stacked."""
    messages = x.index_select(0, in_source)
    if edge_weight is not None:
        messages = messages * along_first(edge_weight.index_select(0, in_edge), messages)
    target = group_of_each(in_start, in_source.shape[0])
    results = [reduce_messages(messages, target, in_start.diff(), name) for name in reduce.split(",")]
    return results[0] if len(results) == 1 else torch.stack(results)
