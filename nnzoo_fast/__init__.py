"""Fast layers for the whole neural-network zoo, with the same answers as PyTorch."""

from nnzoo_fast import _extension as _extension

__version__ = "0.1.0"
