"""Independent implementations to hold ours against. Each is optional: a test that needs an absent one is skipped."""

from types import ModuleType

import pytest

from nnzoo_fast.models.peers import libraries


def torchvision() -> ModuleType:
    try:
        return libraries.torchvision()
    except ModuleNotFoundError:
        pytest.skip("torchvision is not installed")


def timm() -> ModuleType:
    """timm, which imports torchvision."""
    torchvision()
    return pytest.importorskip("timm", reason="timm is not installed")


def transformers() -> ModuleType:
    """transformers; it imports torchvision where that is installed."""
    peer = pytest.importorskip("transformers", reason="transformers is not installed")
    try:
        torchvision()
    except pytest.skip.Exception:
        pass
    return peer


def torch_geometric() -> ModuleType:
    return pytest.importorskip("torch_geometric", reason="torch_geometric is not installed")


def keras() -> ModuleType:
    try:
        return libraries.keras()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
