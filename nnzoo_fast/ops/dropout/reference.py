"""What `dropout` means."""

from nnzoo_fast.random import keep_mask


def reference(input, p, seed, bias, residual):
    """(input + bias) * factor + residual; a factor is 0 or 1 / (1 - p) by the word of its place."""
    output = input if bias is None else input + bias
    output = output * keep_mask(seed, input.shape, p) * (1 / (1 - p) if p < 1 else 0)
    return output if residual is None else output + residual
