"""What the LSTM kernels compute in."""

import torch


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums and of what is kept for backward."""
    return torch.float64 if dtype == torch.float64 else torch.float32
