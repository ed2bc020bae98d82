"""What the tests of `nnzoo-fast cuemu` share."""

import shutil
import sys
from pathlib import Path

import emulator
import numpy as np
import pytest
from strangers import ADD, CRASHES, write

from nnzoo_fast import cli


def pytest_collection_modifyitems(items):
    if shutil.which("g++") is None or not sys.platform.startswith("linux"):
        for item in items:
            if "tests/command" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="needs g++ on Linux"))


@pytest.fixture(autouse=True)
def _one_cache(tmp_path_factory, monkeypatch):
    """The emulator is compiled once for all workers of a test run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(emulator.cache_of(tmp_path_factory)))
    monkeypatch.delenv("CXX", raising=False)


@pytest.fixture
def run(capfd):
    """Runs `nnzoo-fast cuemu`; returns exit code, standard output and standard error."""

    def run(*words):
        with pytest.raises(SystemExit) as leaving:
            cli.main(["cuemu", *map(str, words)])
        captured = capfd.readouterr()
        return leaving.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def add(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("f.npy", np.ones(8, np.float32))
    np.save("d.npy", np.ones(8))
    np.save("o.npy", np.array([{}]), allow_pickle=True)
    np.savez("z.npz", a=np.ones(3))
    Path("z.npz").rename("z.npy")
    Path("bad.npy").write_text("no array")
    Path("data.txt").write_text("1 2 3")
    write(tmp_path, "int x;\n", "empty.cu")
    write(tmp_path, "#include <no_such_header.h>\n", "header.cu")
    return write(tmp_path, ADD, "add.cu")


@pytest.fixture
def crashes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros(5, np.float32))
    np.save("i.npy", np.zeros(1, np.int32))
    return write(tmp_path, CRASHES, "crashes.cu")
