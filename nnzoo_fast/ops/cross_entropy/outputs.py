"""What `cross_entropy` returns, and what its backward keeps."""

import torch


def allocate(input, target, weight, reduction, ignore_index, label_smoothing, training):
    """The loss; for backward the largest value and the logarithm of the sum of each row, and what a mean divides by."""
    shape = (input.shape[0], *input.shape[2:])
    rows = 1
    for size in shape:
        rows = rows * size
    compute = torch.float64 if input.dtype == torch.float64 else torch.float32
    return (
        input.new_empty(shape if reduction == "none" else ()),
        input.new_empty((2, rows), dtype=compute) if training else None,
        input.new_empty((1,), dtype=torch.float64) if training else None,
    )
