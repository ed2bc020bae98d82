"""`lstm` on the kernels of `csrc/ops/lstm`."""

from __future__ import annotations

import functools

import torch

from nnzoo_fast.backends import Verdict, cpu_supports, wants_gradients
from nnzoo_fast.ops.lstm import layers
from nnzoo_fast.ops.lstm.family import FAMILY
from nnzoo_fast.recurrent import cpu as recurrent
from nnzoo_fast.recurrent.weights import per_direction
from nnzoo_fast.tables import onednn_keeps_bf16


def supports(input, h0, c0, weights, batch_sizes, *settings) -> Verdict:
    return cpu_supports(input, "lstm_forward")


def pays(*args) -> Verdict:
    input, _, _, weights, batch_sizes, seed, bias, num_layers, _, bidirectional = args
    if _onednn_wins(input, weights, batch_sizes, seed, bias, num_layers * (2 if bidirectional else 1)):
        rule = False, "oneDNN, behind torch's operator, uses bfloat16 products of this CPU that these kernels have not"
    else:
        rule = True, "whole sequence in one kernel: packed recurrent weights, gates applied in the cache"
    return recurrent.sequence_pays(FAMILY, rule, *args)


kind_of = functools.partial(recurrent.kind_of, FAMILY)


def _onednn_wins(input, weights, batch_sizes, seed, bias, directions) -> bool:
    """Inference only: torch can't differentiate oneDNN's backward, so its training has no double backward."""
    if input.dtype != torch.bfloat16 or not onednn_keeps_bf16() or not torch.backends.mkldnn.enabled:
        return False
    onednn_takes_it = batch_sizes is None and per_direction(len(weights), bias, directions) in (2, 4)
    return onednn_takes_it and seed is None and not wants_gradients(input, *weights)


class Direction(recurrent.Direction):
    family = FAMILY


forward, backward = layers.forward_by(Direction), layers.backward_by(Direction)
