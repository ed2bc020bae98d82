"""What `embedding` means."""

import torch


def reference(weight, indices, padding_idx, scale_grad_by_freq):
    """The rows of `weight` that `indices` number; the options matter to the gradient alone."""
    return torch.embedding(weight, indices, padding_idx, scale_grad_by_freq, False)
