"""The libraries that peers come from, each optional."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

import torch

_schemas = []


def torchvision() -> ModuleType:
    """torchvision; its CUDA build too, whose compiled part can't load on a CPU torch (models don't need it).

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        import torchvision
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


def module(name: str) -> ModuleType:
    """A library that imports torchvision where that is installed.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        torchvision()
    except ModuleNotFoundError:
        pass
    return importlib.import_module(name)


def keras() -> ModuleType:
    """Keras on torch; it reads the name of its backend when it is imported.

    Raises:
        ModuleNotFoundError: it is not installed, or runs on another backend.
    """
    os.environ.setdefault("KERAS_BACKEND", "torch")
    library = importlib.import_module("keras")
    if library.backend.backend() != "torch":
        raise ModuleNotFoundError("keras runs on another backend than torch")
    return library
