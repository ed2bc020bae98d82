"""`instance_norm`: every channel of every image normalised: `group_norm` of as many groups as channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nnzoo_fast.front_door import STOCK, route
from nnzoo_fast.norms import channels
from nnzoo_fast.ops.batch_norm import batch_norm
from nnzoo_fast.ops.group_norm import operation

__all__ = ["instance_norm"]


def instance_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """(input - mean) / sqrt(variance + eps) * weight + bias by image and channel. `torch.nn.functional.instance_norm`.

    Args:
        input: [N, C, *], contiguous or channels-last.
        running_mean, running_var: [C]; what normalises unless `use_input_stats`. Else they take `momentum` of what the
            images' means and sample variances are on average.
        weight, bias: [C].
        use_input_stats: normalise by each channel's own mean and variance.
        momentum: 0 to 1.
        eps: added to the variance.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        As input, in its memory format; contiguous where running statistics are updated.

    Raises:
        ValueError: a single value per channel.
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.

    Source: Ulyanov, Vedaldi, Lempitsky, "Instance normalization", 2016.
    """
    tensors = [tensor for tensor in (input, running_mean, running_var, weight, bias) if tensor is not None]
    if route(tensors) is STOCK or input.dim() < 2:
        return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, 0.0, eps, backend=backend)
    if input.shape[2:].numel() == 1:
        raise ValueError(f"instance_norm: input is {list(input.shape)}, expected more than 1 value per channel")
    if running_mean is not None or running_var is not None:
        return _tracked(input, running_mean, running_var, weight, bias, momentum, eps, backend)
    return operation(input, input.shape[1], weight, bias, eps, backend=backend, stock=stock)


def _tracked(input, running_mean, running_var, weight, bias, momentum, eps, backend) -> torch.Tensor:
    """As in torch: the channels of all images are those of one image, each with running statistics of its own, of which
    the average is kept."""
    channels.check_channels("instance_norm", input, running_mean=running_mean, running_var=running_var)
    images, count = input.shape[:2]
    running = running_mean, running_var
    vectors = [None if tensor is None else tensor.repeat(images) for tensor in (*running, weight, bias)]
    # Contiguous: a view of one channels-last image has strides that torch's backward of batch norm misreads.
    joined = input.contiguous().view(1, images * count, *input.shape[2:])
    output = batch_norm(joined, *vectors, True, momentum, eps, backend=backend)
    with torch.no_grad():
        for tensor, each in zip(running, vectors, strict=False):
            if tensor is not None:
                tensor.copy_(each.view(images, count).mean(0))
    return output.view(input.shape)


def stock(input, num_groups, weight, bias, eps):
    return F.instance_norm(input, None, None, weight, bias, True, 0.0, eps)
