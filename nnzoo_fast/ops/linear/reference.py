"""What `linear` means."""

from nnzoo_fast.activations import ACTIVATIONS


def reference(input, weight, bias=None, activation="none", residual=None):
    """activation(input @ weight^T + bias) + residual."""
    output = input @ weight.transpose(0, 1)
    if bias is not None:
        output = output + bias
    output = ACTIVATIONS[activation](output)
    return output if residual is None else output + residual
