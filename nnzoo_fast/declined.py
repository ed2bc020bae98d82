"""Remembering which calls no kernel wins.

Finding out takes 10 us: the route, the checks, every row's answer. A call like one that was declined before goes
straight to stock torch, for 3 to 5 us. That is safe whatever happens: stock torch knows every transform, mode and
subclass.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from nnzoo_fast._compat import any_autocast_enabled

Key = tuple
"""What a choice may depend on: everything about a call but the tensors' values and, beyond contiguity, strides."""


def call_key(args: Sequence) -> Key:
    """The key of a call of plain tensors. Other arguments stand for themselves, so that a key with one is never met.

    Raises:
        RuntimeError: a tensor without a shape, such as a nested one.
    """
    key = [torch.is_grad_enabled(), any_autocast_enabled()]
    add = key.append
    for value in args:
        kind = type(value)
        if kind is Tensor or kind is Parameter:
            add(value.shape)
            add(value.dtype)
            add(value.is_contiguous())
            add(value.is_cpu)
            add(value.requires_grad)
        elif kind is list:
            add(call_key(value))
        else:
            add(value)
    return tuple(key)


class DeclinedCalls:
    """The keys of calls that went to stock torch, up to a number of them: then it starts anew."""

    MOST = 4096

    def __init__(self):
        self._keys: set[Key] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, call: Sequence) -> bool:
        try:
            return call_key(call) in self._keys
        except (RuntimeError, TypeError):  # no shape, or nothing to hash: a traced program's sizes
            return False

    def add(self, call: Sequence) -> None:
        """Remembers a call of plain tensors that passed the operation's check."""
        if len(self._keys) >= self.MOST:
            self._keys.clear()
        self._keys.add(call_key(call))
