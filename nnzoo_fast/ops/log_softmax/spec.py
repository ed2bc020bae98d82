"""The calls of `log_softmax` that are checked and timed."""

import torch

from nnzoo_fast.ops.log_softmax import log_softmax
from nnzoo_fast.ops.softmax.samples import make_spec

SPEC = make_spec("log_softmax", log_softmax, torch.log_softmax)
