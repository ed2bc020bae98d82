"""What `kl_div` means."""

import torch

from nnzoo_fast.elementwise_losses import reduced


def reference(input, target, reduction, log_target):
    """target (log(target) - input), where 0 log(0) is 0; with `log_target`, the target is its logarithm."""
    if log_target:
        return reduced(target.exp() * (target - input), reduction)
    return reduced(torch.xlogy(target, target) - target * input, reduction)
