"""`lstm` over the layers and directions of a call: `nnzoo_fast.recurrent.layers` for this family."""

import functools

from nnzoo_fast.ops.lstm.family import FAMILY
from nnzoo_fast.recurrent import layers
from nnzoo_fast.recurrent.layers import Direction

__all__ = ["Direction", "backward_by", "forward_by"]

forward_by = functools.partial(layers.forward_by, FAMILY)
backward_by = functools.partial(layers.backward_by, FAMILY)
