"""What `add_norm` means."""

import torch

from nnzoo_fast.ops.layer_norm.reference import reference as layer_norm
from nnzoo_fast.ops.rms_norm.reference import eps_of
from nnzoo_fast.ops.rms_norm.reference import reference as rms_norm
from nnzoo_fast.random import keep_mask

NORMS = ("layer", "rms")

EPS = 1e-5
"""That of a layer norm, by default."""


def reference(
    input, residual, normalized_shape, weight=None, bias=None, eps=None, dropout_p=0.0, norm="layer", seed=None
):
    """norm(sum) and sum = residual + dropout(input)."""
    sum = residual + dropped(input, dropout_p, seed)
    if norm == "rms":
        return rms_norm(sum, normalized_shape, weight, eps), sum
    return layer_norm(sum, normalized_shape, weight, bias, EPS if eps is None else eps), sum


def dropped(input: torch.Tensor, dropout_p: float, seed: torch.Tensor | None) -> torch.Tensor:
    """`input` with each element 0 with this probability, else divided by the other one."""
    if dropout_p == 0:
        return input
    scale = 1 / (1 - dropout_p) if dropout_p < 1 else 0.0
    return torch.where(keep_mask(seed, input.shape, dropout_p), input * scale, 0.0)


def formula(grads, args, outputs, needs):
    """The gradients from the sum, which is attached to its history and says all that both inputs would.

    A result that nobody used has None for a gradient.
    """
    _, _, normalized_shape, weight, bias, eps, dropout_p, norm, seed = args
    (grad, grad_sum), x = grads, outputs[1]
    grad_x, grad_weight, grad_bias = grad_sum, None, None
    if grad is not None:
        dims = tuple(range(-len(normalized_shape), 0))
        center = x - x.mean(dims, keepdim=True) if norm == "layer" else x
        eps = (EPS if norm == "layer" else eps_of(x)) if eps is None else eps
        rstd = ((center * center).mean(dims, keepdim=True) + eps).rsqrt()
        unit, h = center * rstd, grad if weight is None else grad * weight
        through = h - unit * (h * unit).mean(dims, keepdim=True)
        through = through - h.mean(dims, keepdim=True) if norm == "layer" else through
        through = (rstd * through).to(x.dtype)
        grad_x = through if grad_sum is None else through + grad_sum
        grad_weight = (grad * unit).sum_to_size(weight.shape).to(weight.dtype) if needs[2] else None
        grad_bias = grad.sum_to_size(bias.shape).to(bias.dtype) if needs[3] else None
    else:
        grad_weight, grad_bias = (
            torch.zeros_like(t) if needed else None for t, needed in zip((weight, bias), needs[2:4], strict=True)
        )
    grad_input = dropped(grad_x, dropout_p, seed) if needs[0] else None
    return grad_input, grad_x if needs[1] else None, grad_weight, grad_bias, None
