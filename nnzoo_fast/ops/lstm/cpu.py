"""`lstm` on the kernels of `csrc/ops/lstm`, which run one direction of one layer."""

from __future__ import annotations

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports, wants_gradients
from nnzoo_fast.ops.lstm import layers
from nnzoo_fast.ops.lstm.weights import per_direction
from nnzoo_fast.tables import onednn_keeps_bf16


def supports(input, h0, c0, weights, batch_sizes, *settings) -> Verdict:
    return cpu_supports(input, "lstm_forward")


def pays(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional) -> Verdict:
    if _onednn_wins(input, weights, batch_sizes, seed, bias, num_layers * (2 if bidirectional else 1)):
        return False, "oneDNN, behind torch's operator, uses bfloat16 products of this CPU that these kernels have not"
    return True, "whole sequence in one kernel: packed recurrent weights, gates applied in the cache"


def _onednn_wins(input, weights, batch_sizes, seed, bias, directions) -> bool:
    """Inference only: torch can't differentiate oneDNN's backward, so its training has no double backward."""
    if input.dtype != torch.bfloat16 or not onednn_keeps_bf16() or not torch.backends.mkldnn.enabled:
        return False
    onednn_takes_it = batch_sizes is None and per_direction(len(weights), bias, directions) in (2, 4)
    return onednn_takes_it and seed is None and not wants_gradients(input, *weights)


class Direction(layers.Direction):
    @property
    def shape(self) -> tuple[int, ...]:
        """The `Shape` of lstm_bind.cpp."""
        own = self.weights
        return (
            self.steps,
            self.batch,
            self.rows,
            own.w_ih.shape[1],
            own.hidden_size,
            0 if own.w_hr is None else own.out_features,
            address(self.batch_sizes),
            self.reverse,
            _extension.DTYPE_CODES[self.dtype],
            torch.get_num_threads(),
        )

    @property
    def weight_addresses(self) -> tuple[int, ...]:
        return tuple(map(address, self.weights))

    def forward(self, input, h0, c0, output, h_n, c_n, gates, cells) -> None:
        tensors = tuple(map(address, (input, h0, c0, output, h_n, c_n, gates, cells)))
        _extension._C.lstm_forward(self.shape, self.weight_addresses, tensors, output.stride(0))

    def backward(self, input, h0, c0, output, gates, cells, grad_output, grad_h_n, grad_c_n, into, add) -> None:
        tensors = (input, h0, c0, output, gates, cells, grad_output, grad_h_n, grad_c_n)
        _extension._C.lstm_backward(
            self.shape,
            self.weight_addresses,
            tuple(map(address, tensors)),
            tuple(map(address, into)),
            output.stride(0),
            grad_output.stride(0),
            add,
        )

    @staticmethod
    def drop(tensor, into, layer, seed, probability) -> torch.Tensor:
        _extension._C.lstm_dropout(
            tensor.data_ptr(),
            into.data_ptr(),
            tensor.numel(),
            (layer - 1) * tensor.numel(),
            probability,
            seed.item(),
            _extension.DTYPE_CODES[tensor.dtype],
            torch.get_num_threads(),
        )
        return into


forward, backward = layers.forward_by(Direction), layers.backward_by(Direction)
