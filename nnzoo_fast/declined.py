"""Remembering which calls no kernel wins.

Finding out takes 10 us: the route, the checks, every row's answer. A call like one that was declined before goes
straight to stock torch, for 2.4 (`linear`) to 3.8 us (`conv`) on Zen 4. That is safe whatever happens: stock torch
knows every transform, mode and subclass.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from nnzoo_fast import _extension
from nnzoo_fast._compat import any_autocast_enabled

Key = Hashable
"""What a choice may depend on: everything about a call but the tensors' values and, beyond contiguity, strides."""


def describe_call(args: Sequence) -> tuple:
    """The key of a call of plain tensors. Other arguments stand for themselves, so that a key with one is never met.

    Raises:
        RuntimeError: a tensor without a shape, such as a nested one.
    """
    key = [torch.is_grad_enabled(), any_autocast_enabled(), torch.get_num_threads()]
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
            add(describe_call(value))
        else:
            add(value)
    return tuple(key)


def _find_call_key() -> Callable[[tuple], Key]:
    """`call_key(args)`: csrc/common/call_key_bind.cpp, which hashes what `describe_call` lists."""
    if _extension._C is None:
        return describe_call
    asked = torch.is_grad_enabled, any_autocast_enabled, torch.get_num_threads
    _extension._C.watch_calls(Tensor, Parameter, *asked)
    return _extension._C.call_key


call_key = _find_call_key()


class DeclinedCalls:
    """The keys of calls that went to stock torch, up to a number of them: then it starts anew."""

    MOST = 4096

    def __init__(self):
        self.keys: set[Key] = set()

    def __contains__(self, call: tuple) -> bool:
        try:
            return call_key(call) in self.keys
        except (RuntimeError, TypeError):  # no shape, or nothing to hash: a traced program's sizes
            return False

    def add(self, call: tuple) -> None:
        """Remembers a call of plain tensors that passed the operation's check."""
        if len(self.keys) >= self.MOST:
            self.keys.clear()
        self.keys.add(call_key(call))
