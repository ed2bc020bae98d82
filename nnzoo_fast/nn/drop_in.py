"""Which of our layers stands in for which of torch.nn's. Each layer registers itself, so that no list grows here."""

import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch.nn.utils import parametrize

M = TypeVar("M", bound=type[torch.nn.Module])

DROP_INS: dict[type[torch.nn.Module], type[torch.nn.Module]] = {}
"""Our class for each stock class."""

MAKERS: list[Callable[[type[torch.nn.Module]], type[torch.nn.Module] | None]] = []
"""Each is asked for a class of ours for a class that `DROP_INS` doesn't have yet: those of other libraries."""

_MAKING = threading.RLock()
"""Two threads must not make two classes for one: `restore` would know only the later."""


def drop_in(stock: type[torch.nn.Module]) -> Callable[[M], M]:
    """Class decorator: `accelerate` gives a layer of exactly the type `stock` this class, `restore` takes it back.

    Both only assign `module.__class__`, so the class must live on the attributes that `stock` makes, and keep them as
    `stock` would.
    """

    def register(cls: M) -> M:
        DROP_INS[stock] = cls
        cls.__prepare_scriptable__ = lambda layer: _scriptable(layer, stock)
        return cls

    return register


def _scriptable(layer: torch.nn.Module, stock: type[torch.nn.Module]) -> torch.nn.Module:
    """What `torch.jit.script` compiles in place of `layer`: the stock layer, which knows TorchScript, of the same
    parameters and children."""
    return layer if parametrize.is_parametrized(layer) else twin(layer, stock)


def twin(layer: torch.nn.Module, kind: type[torch.nn.Module]) -> torch.nn.Module:
    """Another module of this class with the attributes of `layer`, whose children can be exchanged for themselves."""
    made = kind.__new__(kind)
    vars(made).update({name: value for name, value in vars(layer).items() if name != "_packed"})
    vars(made)["_modules"] = layer._modules.copy()
    return made


def find(kind: type[torch.nn.Module]) -> type[torch.nn.Module] | None:
    """Our class for a stock class, made now if one of `MAKERS` knows how."""
    with _MAKING:
        if kind not in DROP_INS:
            for make in MAKERS:
                if made := make(kind):
                    return drop_in(kind)(made)
        return DROP_INS.get(kind)


def exchange(module: torch.nn.Module, classes: Mapping[type, type]) -> None:
    """Give `module` the class that `classes` holds for exactly its type, if any, beneath a parametrization too."""
    kind = parametrize.type_before_parametrizations(module)
    if kind not in classes:
        return
    if kind is type(module):
        module.__class__ = classes[kind]
    else:
        module.__class__ = _rebased(type(module), classes[kind])


def _rebased(parametrized: type, base: type) -> type:
    """The class that `parametrize` made for one layer, on another base: its properties compute the parameters."""
    members = {name: value for name, value in vars(parametrized).items() if name not in ("__dict__", "__weakref__")}
    return type(f"Parametrized{base.__name__}", (base,), members)
