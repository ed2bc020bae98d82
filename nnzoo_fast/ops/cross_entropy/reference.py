"""What `cross_entropy` means."""

REDUCTIONS = ("none", "mean", "sum")


def reduced(losses, denominator, reduction):
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / denominator


def reference(input, target, weight, reduction, ignore_index, label_smoothing):
    """`target`: classes [N, *size], or probabilities like `input` [N, C, *size]."""
    classes = input.shape[1]
    shifted = input - input.amax(1, keepdim=True).detach() if classes and input.numel() else input
    surprise = shifted.exp().sum(1, keepdim=True).log() - shifted
    scale = input.new_ones(classes) if weight is None else weight
    scale = scale.reshape(-1, *[1] * (input.dim() - 2))
    if target.is_floating_point():
        smoothed = (1 - label_smoothing) * target + label_smoothing / classes
        losses = (scale * smoothed * surprise).sum(1)
        return reduced(losses, max(losses.numel(), 1) if losses.numel() else 0 * losses.sum(), reduction)
    counted = target != ignore_index
    place = target.where(counted, 0).unsqueeze(1)
    of_target = scale.expand(input.shape[1:]).unsqueeze(0).expand(input.shape).gather(1, place).squeeze(1)
    losses = (1 - label_smoothing) * of_target * surprise.gather(1, place).squeeze(1)
    if label_smoothing:
        losses = losses + label_smoothing / classes * (scale * surprise).sum(1)
    return reduced(losses.where(counted, 0), of_target.where(counted, 0).sum(), reduction)
