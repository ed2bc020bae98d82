"""What `adaptive_max_pool` means, without PyTorch's poolings."""

from nnzoo_fast.ops.max_pool.reference import largest
from nnzoo_fast.pooling.adaptive import window_positions


def reference(input, size):
    return chosen(input, size)[0]


def chosen(input, size):
    """The largest value of each window, and its position among all elements of the space, row by row."""
    position, inside = window_positions(input, size)
    windows = input.flatten(2)[:, :, position]
    return largest(windows, position.expand(windows.shape), inside)
