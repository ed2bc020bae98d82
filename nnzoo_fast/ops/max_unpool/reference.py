"""What `max_unpool` means, without PyTorch's unpoolings."""

import math


def reference(input, indices, kernel, stride, padding, size):
    planes = input.new_zeros(*input.shape[:2], math.prod(size))
    return planes.scatter(2, indices.flatten(2), input.flatten(2)).unflatten(2, size)
