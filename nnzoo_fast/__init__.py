"""Fast layers for the whole neural-network zoo, with the same answers as PyTorch."""

from nnzoo_fast import _extension as _extension
from nnzoo_fast import nn, ops
from nnzoo_fast.backends import BackendError, backend
from nnzoo_fast.explain import Explanation, explain

__version__ = "0.1.0"

__all__ = ["BackendError", "Explanation", "backend", "explain", "nn", "ops"]
