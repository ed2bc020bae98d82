"""What `activation` means."""

from nnzoo_fast.ops.activation.functions import FUNCTIONS


def reference(input, function, parameters):
    """`function` of each element."""
    return FUNCTIONS[function].meaning(input, *parameters)
