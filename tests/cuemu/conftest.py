import sys

import emulator
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
    directory = emulator.shared_folder(tmp_path_factory) / "cuemu"
    runtime = emulator.runtime_objects(tmp_path_factory)
    with emulator.alone(directory):
        path = directory / "libkernels.so"
        return Library(path) if path.exists() else compile_library(directory, runtime)


@pytest.fixture(params=ORDERS)
def order(request, monkeypatch):
    monkeypatch.setenv("CUEMU_ORDER", request.param)
    return request.param
