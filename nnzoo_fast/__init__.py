"""Fast layers for the whole neural-network zoo, with the same answers as PyTorch."""

from nnzoo_fast import _extension as _extension
from nnzoo_fast import foreign as foreign
from nnzoo_fast import huggingface as huggingface
from nnzoo_fast import models, nn, ops
from nnzoo_fast.accelerate import accelerate, restore
from nnzoo_fast.allocator import tune_allocator
from nnzoo_fast.backends import BackendError, backend
from nnzoo_fast.explain import Explanation, explain
from nnzoo_fast.graph import Graph
from nnzoo_fast.pack import pack, unpack
from nnzoo_fast.report import Report, report

from nnzoo_fast import pyg as pyg  # isort: skip

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "Explanation",
    "Graph",
    "Report",
    "accelerate",
    "backend",
    "explain",
    "models",
    "nn",
    "ops",
    "pack",
    "report",
    "restore",
    "tune_allocator",
    "unpack",
]
