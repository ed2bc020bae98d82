"""`accelerate` and `restore`: exchange the layers of a model between torch.nn's and ours, in place."""

from typing import TypeVar

import torch
from torch.nn.utils import parametrize

from nnzoo_fast.nn.drop_in import DROP_INS, exchange, find
from nnzoo_fast.pack import unpack

M = TypeVar("M", bound=torch.nn.Module)


def accelerate(model: M) -> M:
    """Run every layer of `model` that has a drop-in on it; `report(model)` shows which those are.

    Layers whose type is exactly a torch.nn class are exchanged by assigning `module.__class__`, the root included. The
    objects stay the same ones, so parameters, buffers, hooks, optimizers, tied weights, `state_dict` and what DDP holds
    stay valid. Subclasses of torch.nn classes keep their own code, but for those of torchvision, transformers and timm
    that `nnzoo_fast.foreign` knows. Parametrized layers are exchanged beneath their
    parametrization. Calling it again changes nothing.

    Args:
        model: any module, a single layer too.

    Returns:
        `model`.

    Raises:
        TypeError: `model` is not a module.
    """
    _require_module("accelerate", model)
    for module in model.modules():
        find(parametrize.type_before_parametrizations(module))
        exchange(module, DROP_INS)
    return model


def restore(model: M) -> M:
    """The inverse of `accelerate`: every drop-in becomes its torch.nn class, also where it was built as a drop-in.

    What torch.nn has no class for, such as `GCNConv`, stays: `nnzoo_fast.backend("torch")` runs it on stock operators.
    Packed weights are dropped.

    Args:
        model: any module, a single layer too.

    Returns:
        `model`.

    Raises:
        TypeError: `model` is not a module.
    """
    _require_module("restore", model)
    stock = {ours: theirs for theirs, ours in DROP_INS.items()}
    for module in unpack(model).modules():
        exchange(module, stock)
    return model


def _require_module(function: str, model: object) -> None:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"{function}: model must be a torch.nn.Module, got {type(model).__name__}")
