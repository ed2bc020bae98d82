"""`batch_norm`: channels normalised by the statistics of the batch or by running ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nnzoo_fast.backends import Backend, only_on_request
from nnzoo_fast.front_door import STOCK, check_tensors, route
from nnzoo_fast.norms import channels
from nnzoo_fast.norms.parameters import sums_like
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.batch_norm import cpu
from nnzoo_fast.ops.batch_norm.reference import reference, statistics

__all__ = ["batch_norm", "operation", "reference"]


def batch_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """(input - mean) / sqrt(variance + eps) * weight + bias by channels. `torch.nn.functional.batch_norm`.

    Args:
        input: [N, C, *], contiguous or channels-last.
        running_mean, running_var: [C]. In training they take `momentum` of the batch's mean and sample variance, else
            they are what normalises.
        weight, bias: [C], of input's dtype; float32 too for a 16-bit input.
        training: normalise by the biased variance and the mean of the batch.
        momentum: 0 to 1.
        eps: added to the variance.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        As input, in its memory format.

    Raises:
        TypeError: `input` is no tensor.
        ValueError: a single value per channel in training; an `eps` that isn't positive.
        RuntimeError: shapes, dtypes or devices that don't fit together, no statistics outside of training.
        BackendError: `backend` can't run this call.

    Source: Ioffe, Szegedy, "Batch normalization", 2015.
    """
    check_tensors("batch_norm", input=input)
    call = (input, weight, bias, running_mean, running_var, training, eps)
    tensors = [tensor for tensor in call[:5] if tensor is not None]
    if operation.goes_to_stock(call, backend) or route(tensors) is STOCK or _is_a_vector_of_nothing(input):
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return operation(*call, backend=backend)[0]
    channels.check_channels("batch_norm", input, running_mean=running_mean, running_var=running_var)

    def declined(*args):
        """Updates the running statistics itself, as it does in a call that is known to be declined."""
        return F.batch_norm(input, running_mean, running_var, weight, bias, True, momentum, eps), None, None

    args = input, weight, bias, None, None, True, eps
    output, mean, variance = operation(*args, backend=backend, call=call, stock=declined)
    if mean is not None and input.numel() > 0:
        update(running_mean, mean, momentum)
        update(running_var, variance, momentum)
    return output


def _is_a_vector_of_nothing(input: torch.Tensor) -> bool:
    """What torch takes, although it has no channels."""
    return input.dim() < 2 and input.numel() == 0


@torch.no_grad()
def update(running: torch.Tensor | None, batch: torch.Tensor, momentum: float) -> None:
    """Not by `lerp_`, which subtracts one from the other: an infinite one would make a NaN."""
    if running is not None:
        running.copy_(torch.add(batch * momentum, running, alpha=1 - momentum))


def stock(input, weight, bias, running_mean, running_var, use_input_stats, eps):
    if not use_input_stats:
        empty = statistics(input, input.new_empty(0))
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, 0.0, eps), empty, empty.clone()
    dims = (0, *range(2, input.dim()))
    variance, mean = torch.var_mean(statistics(input, input), dims)
    return F.batch_norm(input, None, None, weight, bias, True, 0.0, eps), mean, variance


def check(input, weight, bias, running_mean, running_var, use_input_stats, eps):
    given = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    channels.check_channels("batch_norm", input, **given)
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError("batch_norm: running_mean and running_var are None, expected [C] outside of training")
    if eps < 0 or (use_input_stats and eps == 0):
        raise ValueError(f"batch_norm: eps is {eps}, expected a positive number{'' if use_input_stats else ' or 0'}")
    if use_input_stats and input.numel() == input.shape[1] and input.numel() > 0:
        raise ValueError(
            f"batch_norm: input is {list(input.shape)}, expected more than 1 value per channel in training"
        )


def allocate(input, weight, bias, running_mean, running_var, use_input_stats, eps, training):
    size = input.shape[1] if use_input_stats else 0
    mean, variance, rstd = (sums_like(input, size) for _ in range(3))
    return channels.empty_like(input), mean, variance, rstd if training and use_input_stats else None


def keeps(args, needs):
    use_input_stats = args[5]
    return (True, needs[0], False, not use_input_stats, not use_input_stats), (False, use_input_stats, False, True)


def flops(input, weight, bias, running_mean, running_var, use_input_stats, eps):
    count = 1
    for size in input:
        count *= size
    return (8 if use_input_stats else 2) * count


operation = Operation(
    "batch_norm",
    "Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool use_input_stats, "
    "float eps",
    ("output", "mean", "variance", "rstd"),
    visible=3,
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(
        Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),
        Backend("cpu_two_sweeps", cpu.supports, cpu.forward_in_two_sweeps, cpu.backward, only_on_request),
    ),
    check=check,
    keeps=keeps,
    flops=flops,
    compiles=False,
)
