"""What `linear` means."""

from nnzoo_fast.activations import ACTIVATIONS


def reference(input, weight, bias=None, activation="none"):
    """activation(input @ weight^T + bias)."""
    output = input @ weight.transpose(0, 1)
    if bias is not None:
        output = output + bias
    return ACTIVATIONS[activation](output)
