"""What `binary_cross_entropy_with_logits` means."""

import torch.nn.functional as F

from nnzoo_fast.elementwise_losses import reduced


def reference(input, target, weight, pos_weight, reduction):
    """(1 - target) input - (1 + (pos_weight - 1) target) log(sigmoid(input)), times weight."""
    positive = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    losses = (1 - target) * input - positive * F.logsigmoid(input)
    return reduced(losses if weight is None else losses * weight, reduction)
