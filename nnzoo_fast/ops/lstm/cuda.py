"""`lstm` on the kernels of `csrc/ops/lstm/*_cuda.cu`, which run one direction of one layer.

They run all steps in one launch where a cluster's registers hold the recurrent weights, else step by step. The products
that span all steps are those of `linear`.
"""

from __future__ import annotations

import torch

from nnzoo_fast._extension import DTYPE_CODES
from nnzoo_fast.backends import Verdict, address
from nnzoo_fast.cuda_support import Kernels, allows_tf32, call
from nnzoo_fast.ops.linear.cuda import gradient, product
from nnzoo_fast.ops.lstm import layers
from nnzoo_fast.random import keep_mask
from nnzoo_fast.recurrent.family import compute_dtype
from nnzoo_fast.recurrent.weights import group


def supports(input, h0, c0, weights, batch_sizes, seed, bias, num_layers, dropout, bidirectional) -> Verdict:
    if group(weights, bias, num_layers * (2 if bidirectional else 1))[0].w_hr is not None:
        return False, "a projection (proj_size)"
    return True, ""


_BLOCK_UNITS, _TILE, _MOST_TILES = 32, 8, 4
"""Hidden units of a persistent block; sequences that it multiplies together, and how often in a step."""
_MOST_HIDDEN = {torch.float16: 512, torch.bfloat16: 512, torch.float32: 256, torch.float64: 128}
_H200_MULTIPROCESSORS = 132


class Steps(layers.Direction):
    """A product and a pointwise kernel for each step."""

    def tiles(self, like: torch.Tensor) -> int:
        """The batch tiles of a persistent cluster; 0 to go step by step."""
        return 0

    @staticmethod
    def gradient_dtype(dtype: torch.dtype) -> torch.dtype:
        return dtype  # products round once, when they store

    @property
    def shape(self) -> tuple[int, ...]:
        """The `Shape` of lstm_cuda_bind.cpp."""
        sizes = (self.steps, self.batch, self.rows, self.weights.hidden_size)
        return (*sizes, address(self.batch_sizes), self.reverse, DTYPE_CODES[self.dtype], allows_tf32())

    def forward(self, input, h0, c0, output, h_n, c_n, preactivations, cells) -> None:
        own, sums = self.weights, compute_dtype(self.dtype)
        hidden, features = own.hidden_size, own.w_ih.shape[1]
        if preactivations is None:
            preactivations = input.new_empty((self.rows, 4 * hidden), dtype=sums)
        h = self.state(h0, hidden, input, self.dtype)
        c = self.state(c0, hidden, input, sums)
        tensors = (input, own.w_ih, own.b_ih, own.b_hh, preactivations)
        call(input, "lstm_input_gates", self.shape, [address(t) for t in tensors], features)
        tensors = (own.w_hh, preactivations, cells, h, c, output)
        call(
            input, "lstm_forward_steps", self.shape, [address(t) for t in tensors], output.stride(0), self.tiles(input)
        )
        if h_n is not None:
            h_n.copy_(h)
        c_n.copy_(c)

    def backward(
        self, input, h0, c0, output, preactivations, cells, grad_output, grad_h_n, grad_c_n, into, add
    ) -> None:
        own, sums = self.weights, compute_dtype(self.dtype)
        hidden = own.hidden_size
        h0 = self.state(h0, hidden, input, self.dtype)
        c0 = self.state(c0, hidden, input, sums)
        grad_h = self.state(grad_h_n, hidden, input, sums)
        grad_c = self.state(grad_c_n, hidden, input, sums)
        deltas = input.new_empty((self.rows, 4 * hidden))
        previous = input.new_empty((self.rows, hidden))
        tensors = (own.w_hh, preactivations, cells, output, h0, c0, grad_output)
        call(
            input,
            "lstm_backward_steps",
            self.shape,
            [address(t) for t in tensors],
            [address(t) for t in (grad_h, grad_c, deltas, previous)],
            output.stride(0),
            grad_output.stride(0),
            self.tiles(input),
        )
        grad_input, *of_weights, grad_h0, grad_c0 = into
        self.weight_gradients(of_weights, input, deltas, previous)
        if grad_input is not None:
            target = torch.empty_like(grad_input) if add else grad_input
            product(deltas, own.w_ih.t(), target)
            if add:
                grad_input += target
        if grad_h0 is not None:
            grad_h0.copy_(grad_h)
        if grad_c0 is not None:
            grad_c0.copy_(grad_c)

    def weight_gradients(self, into, input, deltas, previous) -> None:
        """One product over all steps for each weight; `previous` holds the h that each row's step started from."""
        w_ih, w_hh, bias, _ = into
        if w_ih is not None:
            product(deltas.t(), input.view(self.rows, self.weights.w_ih.shape[1]).t(), w_ih)
        if w_hh is not None:
            product(deltas.t(), previous.t(), w_hh)
        if bias is not None:
            gradient(deltas, bias)

    @staticmethod
    def drop(tensor, into, layer, seed, probability) -> torch.Tensor:
        keep = keep_mask(seed, (layer, *tensor.shape), probability)[-1]
        scale = 0.0 if probability == 1 else 1 / (1 - probability)
        return into.copy_(torch.where(keep, tensor * scale, torch.zeros_like(tensor)))


class Direction(Steps):
    """All steps in one launch where the recurrent weights fit into a cluster, which needs compute capability 9.0."""

    def tiles(self, like: torch.Tensor) -> int:
        hidden = self.weights.hidden_size
        if hidden > _MOST_HIDDEN[self.dtype] or not has_clusters(like):
            return 0
        clusters = max(1, multiprocessors(like) // -(-hidden // _BLOCK_UNITS))
        # As few sequences in a cluster as let all clusters run at once.
        return min(_MOST_TILES, max(1, -(-self.batch // (_TILE * clusters))))


def has_clusters(tensor: torch.Tensor) -> bool:
    return not tensor.is_cuda or torch.cuda.get_device_capability(tensor.device) >= (9, 0)


def multiprocessors(tensor: torch.Tensor) -> int:
    if not tensor.is_cuda:
        return _H200_MULTIPROCESSORS
    return torch.cuda.get_device_properties(tensor.device).multi_processor_count


forward, backward = layers.forward_by(Direction), layers.backward_by(Direction)
RUNGS = {"steps": Kernels(supports, layers.forward_by(Steps), layers.backward_by(Steps))}
