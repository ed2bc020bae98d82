"""What `rms_norm` means."""

import torch


def reference(input, normalized_shape, weight=None, eps=None):
    """input / sqrt(mean of squares + eps) * weight over the dimensions of normalized_shape."""
    dims = tuple(range(-len(normalized_shape), 0))
    eps = eps_of(input) if eps is None else eps
    output = input * ((input * input).mean(dims, keepdim=True) + eps).rsqrt()
    if weight is not None:
        output = output * weight
    return output.to(input.dtype)


def eps_of(input: torch.Tensor) -> float:
    """torch's: the eps of what sums of this dtype are kept in."""
    return torch.finfo(torch.float64 if input.dtype == torch.float64 else torch.float32).eps
