"""What layers with packed weights share: everything that may change the weights for good makes them plain again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch

from nnzoo_fast.nn.drop_in import exchange

P = TypeVar("P", bound="type[Packed]")

PACKED: dict[type[torch.nn.Module], type[Packed]] = {}
"""The packed class of each of our layers that has one."""

FOLDED: dict[type[torch.nn.Module], type[Packed]] = {}
"""The class of each kind of layer while it is folded with others, and of each kind of module that folds its layers."""


def packs(plain: type[torch.nn.Module]) -> Callable[[P], P]:
    """Class decorator: `pack` gives a layer of exactly the type `plain` this class."""

    def register(cls: P) -> P:
        cls.plain = plain
        PACKED[plain] = cls
        return cls

    return register


def folds(plain: type[torch.nn.Module]) -> Callable[[P], P]:
    """Class decorator: a module of exactly the type `plain` gets this class while it takes part in a fold."""

    def register(cls: P) -> P:
        cls.plain = plain
        FOLDED[plain] = cls
        return cls

    return register


class Packed:
    """Mixin in front of a layer's class; `_packed` is the copy, and neither deepcopy nor pickle takes it along."""

    plain: ClassVar[type[torch.nn.Module]]
    _packed: Any

    @staticmethod
    def make_copy(layer: torch.nn.Module) -> Any:
        """The packed weights of a plain layer, or None where the kernels can't pack them."""
        raise NotImplementedError

    def train(self, mode: bool = True):
        return plain(self).train(mode) if mode else super().train(mode)

    def _apply(self, *args, **kwargs):
        return plain(self)._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args, **kwargs):
        return plain(self)._load_from_state_dict(*args, **kwargs)

    def __reduce_ex__(self, protocol):
        return _new, (self.plain,), {name: value for name, value in vars(self).items() if name != "_packed"}


def _new(kind: type[torch.nn.Module]) -> torch.nn.Module:
    return kind.__new__(kind)


def plain(layer: torch.nn.Module) -> torch.nn.Module:
    """`layer` without its packed copy, if it has one."""
    exchange(layer, {packed: kind for kind, packed in (*PACKED.items(), *FOLDED.items())})
    vars(layer).pop("_packed", None)
    return layer
