"""Runs something as soon as a module is imported by whoever wants it, so that we need not import it ourselves."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec


def when_imported(name: str, action: Callable[[], None]) -> None:
    """Calls `action` right after module `name` is first imported: at once if that has happened already."""
    if name in sys.modules:
        action()
        return
    for finder in sys.meta_path:  # every import asks all of them: one for each name
        if type(finder) is _Watcher and finder.name == name:
            finder.actions.append(action)
            return
    sys.meta_path.insert(0, _Watcher(name, action))


class _Watcher:
    """A finder that lets the others find the module, and appends the actions to its execution."""

    def __init__(self, name: str, action: Callable[[], None]):
        self.name, self.actions = name, [action]

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        if name != self.name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)  # the search below must not come back here
        spec = importlib.util.find_spec(name)
        if spec is None:
            sys.meta_path.insert(0, self)
            return None
        execute = spec.loader.exec_module

        def execute_and_act(module) -> None:
            execute(module)
            for action in self.actions:
                action()

        spec.loader.exec_module = execute_and_act
        return spec
