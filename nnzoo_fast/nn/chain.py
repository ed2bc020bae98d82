"""Which classes of modules are a `Sequential` in other words: what their forward does, found by watching it once."""

from __future__ import annotations

import dis
import functools
import inspect

import torch

_OUTSIDE = {"LOAD_GLOBAL", "STORE_GLOBAL", "IMPORT_NAME", "LOAD_DEREF", "STORE_DEREF"}
"""Instructions by which code reads or changes what a watch of its calls doesn't show, such as `torch.no_grad`."""


@functools.cache
def chain_of(kind: type[torch.nn.Module]) -> tuple[str, ...] | None:
    """The names of the layers that `kind.forward` passes its one argument through, in turn, if it does nothing else.

    For a subclass of `torch.nn.Sequential` that changes nothing of how it runs, that is `()`: all of its layers. The
    forward is called once, on stand-ins that refuse everything but such calls, so that whatever looks at a value, a
    number or an option is no chain. Nor is code that names anything but its arguments and variables, decorated code
    included.
    """
    if issubclass(kind, torch.nn.Sequential):
        same = (getattr(kind, name) is getattr(torch.nn.Sequential, name) for name in ("forward", "__iter__"))
        return () if all(same) else None
    try:
        if len(inspect.signature(kind.forward).parameters) != 2:
            return None
        if not _OUTSIDE.isdisjoint(step.opname for step in dis.get_instructions(kind.forward)):
            return None
        watched = _Watched()
        last = kind.forward(watched, watched.value)
    except Exception:  # a stand-in refused, or the code can't run without a module
        return None
    names = tuple(watched.names)
    return names if names and last is watched.value and watched.asked == set(names) else None


class _Refused(Exception):
    pass


class _StandIn:
    """Refuses everything; `is` can't be refused, so a chain may hold layers that are None."""

    def _refuse(self, *_, **__):
        raise _Refused

    __getattr__ = __setattr__ = __bool__ = __iter__ = __len__ = __getitem__ = __eq__ = __call__ = _refuse
    __class__ = property(_refuse)  # what `isinstance` asks for
    __hash__ = object.__hash__


class _Value(torch.Tensor):
    """In place of what is passed on: a tensor, for `isinstance`, that no function takes."""

    @classmethod
    def __torch_function__(cls, *_):
        raise _Refused

    def __setattr__(self, *_):
        raise _Refused


def _value() -> _Value:
    return torch.empty(0).as_subclass(_Value)


class _Watched(_StandIn):
    """In place of the module."""

    def __init__(self):
        vars(self).update(names=[], asked=set(), value=_value())

    def __getattr__(self, name: str) -> _Layer:
        self.asked.add(name)
        return _Layer(self, name)


class _Layer(_StandIn):
    """In place of one of its layers: may be called on the value that the layer before returned."""

    def __init__(self, model: _Watched, name: str):
        vars(self).update(model=model, name=name)

    def __call__(self, *args, **kwargs) -> _Value:
        if kwargs or len(args) != 1 or args[0] is not self.model.value:
            raise _Refused
        self.model.names.append(self.name)
        vars(self.model)["value"] = _value()
        return self.model.value
