"""`softmax` along a dimension."""

from __future__ import annotations

import torch

from nnzoo_fast.ops.softmax import along
from nnzoo_fast.ops.softmax.reference import reference

__all__ = ["softmax", "operation", "reference"]


def softmax(
    input: torch.Tensor, dim: int, dtype: torch.dtype | None = None, *, backend: str | None = None
) -> torch.Tensor:
    """exp(input) / sum of exp(input), sums along `dim`. `torch.nn.functional.softmax`.

    Args:
        input: any shape.
        dim: negative ones count from the end.
        dtype: convert `input` to it first.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        `input`'s shape; NaN where all of a sum's values are -infinity.

    Raises:
        TypeError: `input` is no tensor, or `dim` no int.
        IndexError: `dim` is out of range.
        BackendError: `backend` can't run this call.
    """
    return along.call(operation, input, dim, dtype, backend)


operation = along.make_operation("softmax", reference, torch.softmax)
