"""The calls of `softmax` that are checked and timed."""

import torch

from nnzoo_fast.ops.softmax import softmax
from nnzoo_fast.ops.softmax.samples import make_spec

SPEC = make_spec("softmax", softmax, torch.softmax)
