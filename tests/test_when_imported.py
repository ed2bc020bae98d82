"""Actions that wait for somebody to import a module."""

import importlib
import sys

import pytest

from nnzoo_fast.when_imported import when_imported


@pytest.fixture
def module_name(tmp_path, monkeypatch):
    (tmp_path / "wanted_later.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "wanted_later"
    sys.modules.pop("wanted_later", None)


def test_every_action_runs_once_after_the_module_has(module_name):
    seen = []
    finders = list(sys.meta_path)
    for who in ("first", "second"):
        when_imported(module_name, lambda who=who: seen.append((who, sys.modules[module_name].value)))
    assert seen == []
    assert importlib.import_module(module_name).value == 7
    assert sorted(seen) == [("first", 7), ("second", 7)]
    assert sys.meta_path == finders
    importlib.import_module(module_name)
    assert len(seen) == 2


def test_action_runs_at_once_for_a_module_that_is_there(module_name):
    importlib.import_module(module_name)
    seen = []
    when_imported(module_name, lambda: seen.append("now"))
    assert seen == ["now"]


def test_other_imports_are_left_alone(module_name, tmp_path):
    (tmp_path / "bystander.py").write_text("value = 1\n")
    seen = []
    when_imported("wanted_never", lambda: seen.append("never"))
    assert importlib.import_module("bystander").value == 1
    with pytest.raises(ModuleNotFoundError, match="wanted_never"):
        importlib.import_module("wanted_never")
    assert seen == []
