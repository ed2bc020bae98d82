import fcntl
import os
import sys

import pytest
from emulated import CXX, ORDERS, Library, compile_library


def pytest_collection_modifyitems(items):
    if CXX is None or not sys.platform.startswith("linux"):
        for item in items:
            if "tests/cuemu" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="needs a C++ compiler on Linux"))


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    """The library of all tests/cuemu/*.cu, compiled once however many workers there are."""
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cuemu"
    directory.mkdir(exist_ok=True)
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = directory / "libkernels.so"
        return Library(path) if path.exists() else compile_library(directory)


@pytest.fixture(params=ORDERS)
def order(request, monkeypatch):
    monkeypatch.setenv("CUEMU_ORDER", request.param)
    return request.param
