"""Which of our layers stands in for which of torch.nn's. Each layer registers itself, so that no list grows here."""

from collections.abc import Callable
from typing import TypeVar

import torch

M = TypeVar("M", bound=type[torch.nn.Module])

DROP_INS: dict[type[torch.nn.Module], type[torch.nn.Module]] = {}
"""Our class for each stock class."""


def drop_in(stock: type[torch.nn.Module]) -> Callable[[M], M]:
    """Class decorator: `accelerate` gives a layer of exactly the type `stock` this class, `restore` takes it back.

    Both only assign `module.__class__`, so the class must live on the attributes that `stock` makes, and keep them as
    `stock` would.
    """

    def register(cls: M) -> M:
        DROP_INS[stock] = cls
        return cls

    return register
