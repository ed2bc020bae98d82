"""Functions and layers that are the same in one, two and three dimensions, written once.

In their docstrings, {n} stands for the number of dimensions, {space} for the sizes of an image and {made} for those of
what comes of it.
"""

import functools
from collections.abc import Callable, Sequence

import torch

from nnzoo_fast.nn.drop_in import drop_in

SPACES = ("L", "H, W", "D, H, W")


def functions(function: Callable) -> list[Callable]:
    """`function`(n, ...) for n of 1, 2 and 3, named after it and with its other parameters."""
    return [_bound(function, n) for n in (1, 2, 3)]


def _bound(function: Callable, n: int) -> Callable:
    def bound(*args, **kwargs):
        return function(n, *args, **kwargs)

    bound.__wrapped__ = functools.partial(function, n)  # whose signature `inspect` takes
    bound.__name__ = bound.__qualname__ = f"{function.__name__.lstrip('_')}{n}d"
    bound.__module__ = function.__module__
    bound.__doc__ = _filled(function.__doc__, n)
    return bound


def layers(kind: str, mixin: type, summary: str, **members: Sequence) -> list[type[torch.nn.Module]]:
    """The drop-ins for torch.nn's `kind`1d, 2d and 3d: `mixin` above each, with one of each of `members`."""
    return [_layer(kind, mixin, summary, n, members) for n in (1, 2, 3)]


def _layer(kind: str, mixin: type, summary: str, n: int, members: dict[str, Sequence]) -> type[torch.nn.Module]:
    stock = getattr(torch.nn, f"{kind}{n}d")
    body = {name: values[n - 1] for name, values in members.items()}
    body["__doc__"] = f"`torch.nn.{stock.__name__}`: {_filled(summary, n)}"
    body["__module__"] = mixin.__module__
    return drop_in(stock)(type(stock.__name__, (mixin, stock), body))


def _filled(text: str, n: int) -> str:
    space = SPACES[n - 1]
    return text.format(n=n, space=space, made=", ".join(f"{size}_out" for size in space.split(", ")))
