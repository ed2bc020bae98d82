"""What the tests of published models share."""

import torch
from test_models import normal

from nnzoo_fast import models
from nnzoo_fast.models.residual import Bottleneck


def results(model, inputs):
    """Output, and gradients by all parameters."""
    output = model(*inputs)
    return [output, *torch.autograd.grad(output, list(model.parameters()), normal(*output.shape, seed=2).to(output))]


def lively(model):
    """Biases and norms start as 0 and 1, which would hide a swap."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.dtype.is_floating_point:
                tensor.mul_(1 + 0.2 * torch.rand_like(tensor)).add_(0.02 * torch.rand_like(tensor))
    return model


def without_dropout(model):
    for module in model.modules():
        if "Dropout" in type(module).__name__ or type(module).__name__ == "StochasticDepth":
            module.p = 0.0
    return model


def small_resnet(seed=0, **options):
    torch.manual_seed(seed)
    return models.ResNet(7, 2, (1, 1, 1, 1), (4, 6, 8, 10), Bottleneck, **options)
