"""Independent implementations to hold ours against. Each is optional: a test that needs an absent one is skipped."""

import os
import sys
from types import ModuleType

import pytest
import torch

_schemas = []


def torchvision() -> ModuleType:
    """torchvision; its CUDA build too, whose compiled part can't load on a CPU torch (models don't need it)."""
    try:
        import torchvision
    except ModuleNotFoundError:
        pytest.skip("torchvision is not installed")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _schemas.append(library)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision
    return torchvision


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
