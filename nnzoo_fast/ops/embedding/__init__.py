"""`embedding`: rows of a table by number. `torch.nn.functional.embedding` with a gradient that is written once."""

from __future__ import annotations

import torch

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.embedding import cpu
from nnzoo_fast.ops.embedding.reference import reference

__all__ = ["embedding", "operation", "reference"]


def embedding(
    input: torch.Tensor,
    weight: torch.Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """The rows of `weight` that `input` numbers.

    Args:
        input: int64 or int32 [*].
        weight: [rows, features], floating-point.
        padding_idx: a row without a gradient; counted from the end if negative.
        max_norm: rows that are asked for and longer than this are scaled to it, in place, before.
        norm_type: p of the norm that `max_norm` bounds.
        scale_grad_by_freq: divide the gradient of a row by how often it was asked for.
        sparse: a sparse gradient, which stock torch makes.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [*, features].

    Raises:
        TypeError: an argument is no tensor.
        AssertionError: `padding_idx` is no row of the table.
        IndexError: an index out of range.
        RuntimeError: a wrong dtype, shape or device.
        BackendError: `backend` can't run this call.
    """
    check_tensors("embedding", input=input, weight=weight)
    if not is_traceable(input) or not is_traceable(weight) or sparse or input.is_meta != weight.is_meta:
        return torch.nn.functional.embedding(
            input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        )
    padding = -1 if padding_idx is None else padding_row("embedding", padding_idx, weight, AssertionError)
    if max_norm is not None:
        check(weight, input, padding, scale_grad_by_freq)
        with torch.no_grad():
            torch.embedding_renorm_(weight, input.contiguous(), max_norm, norm_type)
    return operation(weight, input, padding, scale_grad_by_freq, backend=backend)


def padding_row(op: str, padding_idx: int, weight: torch.Tensor, error: type[Exception]) -> int:
    """The row that `padding_idx` names, counted from 0; `error` is what stock torch raises where there is none."""
    rows = weight.shape[0]
    if not -rows <= padding_idx < rows:
        raise error(f"{op}: padding_idx is {padding_idx}, expected -{rows} to {rows - 1}, a row of weight")
    return padding_idx % rows


def check(weight, indices, padding_idx, scale_grad_by_freq):
    if weight.dim() != 2:
        raise RuntimeError(f"embedding: weight is {list(weight.shape)}, expected [rows, features]")
    if indices.dtype not in (torch.int64, torch.int32):
        raise RuntimeError(f"embedding: input is {indices.dtype}, expected torch.int64 or torch.int32")
    if indices.device != weight.device:
        raise RuntimeError(f"embedding: input is on {indices.device}, expected weight's {weight.device}")


def allocate(weight, indices, padding_idx, scale_grad_by_freq, training):
    return (weight.new_empty((*indices.shape, weight.shape[1])),)


def keeps(args, needs):
    return (False, True), (False,)


operation = Operation(
    "embedding",
    "Tensor weight, Tensor indices, SymInt padding_idx, bool scale_grad_by_freq",
    ("out",),
    allocate=allocate,
    reference=reference,
    stock=reference,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
)
