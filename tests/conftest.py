"""Settings of the whole suite."""

import os

# Workers of pytest-xdist share the cores: a thread that spins while it waits would take them from the others. OpenMP
# reads this when torch loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

# The interpreter runs Triton kernels on CPU tensors. It is read when Triton is first imported, so it stands here.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest

from nnzoo_fast import _extension

# Workers share the cores: with more threads than cores, OpenMP's waiting threads take the time of the working ones.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))


def pytest_collection_modifyitems(items):
    """What takes minutes comes first: at the end, one worker would be busy with it while others have nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def _same_seed():
    torch.manual_seed(0)


@pytest.fixture
def poisoned_memory():
    """Uninitialised tensors start as NaN (or the largest integer), so that a result never written can't pass."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def threads():
    """Sets the number of torch's threads; that of before comes back after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def isa():
    """Sets the instruction set of the C++ kernels; the one of before comes back after the test."""
    module = _extension._C
    before = module.isa() if module else None
    yield lambda name: module.set_isa(name)
    if module:
        module.set_isa(before)
