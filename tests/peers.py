"""Independent implementations to hold ours against. Each is optional: a test that needs an absent one is skipped."""

import os
from types import ModuleType

import pytest

from nnzoo_fast.models import peers


def torchvision() -> ModuleType:
    try:
        return peers.torchvision()
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
    """Keras on torch; it reads the name of its backend when it is imported."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    peer = pytest.importorskip("keras", reason="keras is not installed")
    if peer.backend.backend() != "torch":
        pytest.skip("keras runs on another backend than torch")
    return peer
