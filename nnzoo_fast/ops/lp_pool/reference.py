"""What `lp_pool` means, without PyTorch's poolings."""

import math

import torch

from nnzoo_fast.ops.avg_pool.reference import reference as mean_of_windows


def reference(input, p, kernel, stride, ceil_mode):
    sums = mean_of_windows(input.pow(p), kernel, stride, [0] * len(kernel), ceil_mode, False, 0) * math.prod(kernel)
    zero = sums == 0
    return torch.where(zero, sums.detach().pow(1 / p), sums.masked_fill(zero, 1).pow(1 / p))
