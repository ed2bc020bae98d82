"""Transfer learning: keep what a model has learned, and teach it something else."""

from __future__ import annotations

import torch

from nnzoo_fast import nn
from nnzoo_fast.models.arguments import checked_count


def freeze(model: torch.nn.Module, until: str | None = None) -> torch.nn.Module:
    """Stops the training of `model`, or of its modules before the one called `until`; returns `model`.

    Frozen parameters get no gradients and lose those that they have, so that an optimizer leaves them alone whatever it
    remembers of them. Frozen modules stay in `eval()`, so that batch norm keeps its statistics and dropout is off, also
    after `model.train()`. `unfreeze` undoes it.

    Args:
        until: the name, as in `named_modules()`, of the first module that still learns. What stands before it in
            `named_parameters()` is frozen: modules that were registered before it, and the parameters that the modules
            around it hold themselves. A weight that it shares with one of those is frozen for both.

    Raises:
        TypeError: `model` is not a module.
        ValueError: no module has that name.
    """
    _require_module("freeze", model)
    if until is None:
        frozen = list(model.modules())
    else:
        path = _path(model, until)
        frozen = [module for each in _before(path) for module in each.modules()]
    around = [] if until is None else [module for module, _ in path]
    for module in (*around, *frozen):
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
            parameter.grad = None
    for module in frozen:
        module.eval()
        if "train" not in vars(module):
            module.train = _stays_in_eval(module)
    return model


def unfreeze(model: torch.nn.Module) -> torch.nn.Module:
    """Lets every parameter of `model` learn again, and `train()` reach every module; returns `model`."""
    for module in model.modules():
        if isinstance(vars(module).get("train"), _stays_in_eval):
            del module.train
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model


class _stays_in_eval:
    """A frozen module's own `train`. Not a closure, so that the model can still be copied and pickled."""

    def __init__(self, module: torch.nn.Module):
        self.module = module

    def __call__(self, mode: bool = True) -> torch.nn.Module:
        return type(self.module).train(self.module, False)


def _path(model: torch.nn.Module, name: str) -> list[tuple[torch.nn.Module, str]]:
    """The modules on the way to `name`, each with the name of the child that the way goes on with."""
    found, module = [], model
    for part in name.split("."):
        if part not in dict(module.named_children()):
            children = ", ".join(dict(module.named_children())) or "none"
            raise ValueError(f"no module is called {name!r}: {part!r} is not among {children}")
        found.append((module, part))
        module = getattr(module, part)
    return found


def _before(path: list[tuple[torch.nn.Module, str]]):
    for module, last in path:
        for name, child in module.named_children():
            if name == last:
                break
            yield child


def replace_head(model: torch.nn.Module, num_classes: int) -> torch.nn.Module:
    """Gives `model` a new last `Linear` with `num_classes` outputs and random weights; returns `model`.

    The last is the one that was registered last, as in every classifier of `nnzoo_fast.models` and torchvision.

    Raises:
        TypeError: `model` is not a module, or `num_classes` no integer.
        ValueError: `model` has no Linear layer, or is one, or shares the weight of the last one with another layer.
    """
    num_classes = checked_count("replace_head", "num_classes", num_classes, 1)
    _require_module("replace_head", model)
    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and name]
    if not names:
        raise ValueError(f"replace_head: {type(model).__name__} holds no Linear layer")
    parent, _, name = names[-1].rpartition(".")
    old = model.get_submodule(names[-1])
    if sum(parameter is old.weight for parameter in _all_parameters(model)) > 1:
        raise ValueError(f"replace_head: the weight of {names[-1]} is shared with another layer")
    head = nn.Linear(old.in_features, num_classes, old.bias is not None, old.weight.device, old.weight.dtype)
    setattr(model.get_submodule(parent), name, head.train(old.training))
    return model


def _require_module(function: str, model: object) -> None:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"{function}: model must be a torch.nn.Module, got {type(model).__name__}")


def _all_parameters(model: torch.nn.Module):
    for module in model.modules():
        yield from module.parameters(recurse=False)
