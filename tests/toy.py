"""An operation for tests of the front door: tanh(x @ (w[0] + w[1] + ...) + bias), on kernels opaque to torch.

The kernels go through numpy, as a C++ kernel goes through pointers: a tensor that has no plain memory makes them fail,
and `calls` tells whether they ran.
"""

import numpy as np
import torch

from nnzoo_fast.backends import Backend
from nnzoo_fast.operation import Operation

calls = []


def reference(x, weights, bias):
    product = x @ sum(weights)
    return torch.tanh(product if bias is None else product + bias)


def plain(tensor):
    assert type(tensor) in (torch.Tensor, torch.nn.Parameter)
    return tensor.detach().numpy()


def forward(x, weights, bias, training):
    calls.append("forward")
    product = plain(x) @ sum(map(plain, weights))
    return (torch.from_numpy(np.tanh(product if bias is None else product + plain(bias))),)


def backward(grads, args, outputs, needs):
    calls.append("backward")
    x, weights, bias = args
    slope = plain(grads[0]) * (1 - plain(outputs[0]) ** 2)
    each = torch.from_numpy(plain(x).T @ slope)
    grads = [torch.from_numpy(slope @ sum(map(plain, weights)).T), *(each.clone() for _ in weights)]
    grads.append(None if bias is None else torch.from_numpy(slope.sum(0)))
    return tuple(grad if needed else None for grad, needed in zip(grads, needs, strict=True))


def supports(x, weights, bias):
    if x.device.type != "cpu":
        return False, "numpy needs CPU tensors"
    return x.dtype in (torch.float32, torch.float64), f"{x.dtype} has no numpy kernel"


toy = Operation(
    "toy",
    "Tensor x, Tensor[] weights, Tensor? bias",
    ("output",),
    allocate=lambda x, weights, bias, training: (x.new_empty(x.shape[0], weights[0].shape[1]),),
    reference=reference,
    stock=reference,
    table=(Backend("numpy", supports, forward, backward),),
    autocast="lower",
    flops=lambda x, weights, bias: 2 * x[0] * weights[0][0] * weights[0][1],
)


def arguments(dtype=torch.float64, grad=True):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad)

    return normal(5, 3), [normal(3, 4), normal(3, 4)], normal(4)
