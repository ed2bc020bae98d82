"""`embedding_bag`: sums and means of rows of a table. `torch.nn.functional.embedding_bag`."""

from __future__ import annotations

import torch

from nnzoo_fast._compat import watched
from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import STOCK, check_tensors, is_traceable, route
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.embedding import padding_row
from nnzoo_fast.ops.embedding_bag import cpu
from nnzoo_fast.ops.embedding_bag.reference import reference

__all__ = ["embedding_bag", "operation", "reference"]

MODES = ("sum", "mean", "max")


def embedding_bag(
    input: torch.Tensor,
    weight: torch.Tensor,
    offsets: torch.Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: torch.Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """The sum, mean or maximum over each bag of the rows of `weight` that its indices number.

    Args:
        input: int64 or int32: [B, N], a bag in each row, or [E] with `offsets`.
        weight: [rows, features], floating-point.
        offsets: int64 or int32 [B], where in `input` each bag begins, from 0 on.
        max_norm: rows that are asked for and longer than this are scaled to it, in place, before.
        norm_type: p of the norm that `max_norm` bounds.
        scale_grad_by_freq: divide the gradient of a row by how often it was asked for, on stock torch.
        mode: "sum", "mean" or "max", whose gradient goes to the first of equal values.
        sparse: a sparse gradient, which stock torch makes.
        per_sample_weights: as `input`, what rows are multiplied by; with "sum" only.
        include_last_offset: `offsets` has one more, where the last bag ends.
        padding_idx: a row that is left out of bags.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [B, features]; 0 for an empty bag.

    Raises:
        TypeError: an argument is no tensor.
        ValueError: a wrong shape or `mode`.
        IndexError, RuntimeError: indices, offsets or `padding_idx` out of range; a wrong dtype or device.
        BackendError: `backend` can't run this call.
    """
    call = (
        input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse,
        per_sample_weights, include_last_offset, padding_idx,
    )  # fmt: skip
    if operation.goes_to_stock(call, backend) and not watched():
        return torch.nn.functional.embedding_bag(*call)
    check_tensors("embedding_bag", input=input, weight=weight)
    ours = mode in MODES and not sparse and not scale_grad_by_freq and is_traceable(input)
    if not ours or not is_traceable(weight) or not _is_right(input, weight, offsets, mode, per_sample_weights):
        return torch.nn.functional.embedding_bag(*call)
    padding = -1 if padding_idx is None else padding_row("embedding_bag", padding_idx, weight, RuntimeError)
    if input.dim() == 2:
        bags, size = input.shape
        offsets = torch.arange(bags + 1, device=input.device) * size
        per_sample_weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
        input = input.reshape(-1)
    elif not include_last_offset:
        offsets = torch.nn.functional.pad(offsets, (0, 1), value=input.shape[0])
    if max_norm is not None:
        with torch.no_grad():
            torch.embedding_renorm_(weight, input.contiguous(), max_norm, norm_type)
    return operation(weight, input, offsets, per_sample_weights, mode, padding, backend=backend, call=call)


def _is_right(input, weight, offsets, mode, per_sample_weights) -> bool:
    """Whether stock torch would take a call like this; of others it says what is wrong."""
    if weight.dim() != 2 or not weight.is_floating_point() or input.dim() not in (1, 2):
        return False
    if input.dtype not in (torch.int64, torch.int32) or (offsets is None) != (input.dim() == 2):
        return False
    if offsets is not None:
        if not is_traceable(offsets) or offsets.dim() != 1 or offsets.dtype != input.dtype or offsets.shape[0] == 0:
            return False
    if per_sample_weights is None:
        return True
    alike = per_sample_weights.shape == input.shape and per_sample_weights.dtype == weight.dtype
    return mode == "sum" and alike


def stock(weight, indices, offsets, per_sample_weights, mode, padding_idx):
    if route((weight,)) is STOCK:  # a transform or forward mode, which torch's own operator doesn't know
        return reference(weight, indices, offsets, per_sample_weights, mode, padding_idx)
    padding = None if padding_idx < 0 else padding_idx
    rest = dict(mode=mode, per_sample_weights=per_sample_weights, include_last_offset=True, padding_idx=padding)
    return torch.nn.functional.embedding_bag(indices, weight, offsets, **rest)


def allocate(weight, indices, offsets, per_sample_weights, mode, padding_idx, training):
    """The bags; for the backward of "max", which place among the indices each value comes from."""
    shape = offsets.shape[0] - 1, weight.shape[1]
    places = training and mode == "max"
    return weight.new_empty(shape), weight.new_empty(shape, dtype=torch.int32) if places else None


def keeps(args, needs):
    return (needs[3], True, True, True), (False, args[4] == "max")


def formula(grads, args, outputs, needs):
    """Gradients that can be differentiated again; of "max" from the places that were kept, without the table."""
    weight, indices, offsets, _, mode, padding_idx = args
    if mode != "max":
        return operation.reference_gradients(grads, args, needs, torch.is_grad_enabled())
    indices, place = indices[: int(offsets[-1])].long(), outputs[1].long()
    rows = torch.nn.functional.pad(indices[indices != padding_idx], (0, 1))[place]  # -1, an empty bag, is the last
    grad = torch.where(place < 0, 0, grads[0])
    return grad.new_zeros(weight.shape).scatter_add(0, rows, grad), None, None, None


operation = Operation(
    "embedding_bag",
    "Tensor weight, Tensor indices, Tensor offsets, Tensor? per_sample_weights, str mode, SymInt padding_idx",
    ("out", "place"),
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    keeps=keeps,
    formula=formula,
)
