"""`lstm` on the kernels of `csrc/ops/lstm/*_cuda.cu`, which run one layer.

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


def supports(*args) -> Verdict:
    return True, ""


_BLOCK_UNITS, _TILE, _MOST_TILES = 32, 8, 4
"""Hidden units of a persistent block; sequences that it multiplies together, and how often in a step."""
_MOST_HIDDEN = {torch.float16: 512, torch.bfloat16: 512, torch.float32: 512, torch.float64: 256}
_MOST_NARROW = {torch.float16: 512, torch.bfloat16: 512, torch.float32: 256, torch.float64: 128}
"""States whose weights are all in registers; those of wider ones leave shared memory for one tile."""
_H200_MULTIPROCESSORS = 132


class Steps(layers.Direction):
    """A product and a pointwise kernel for each step."""

    def tiles(self, like: torch.Tensor, directions: int) -> int:
        """The batch tiles of a persistent cluster where `directions` run side by side; 0 to go step by step."""
        return 0

    @staticmethod
    def gradient_dtype(dtype: torch.dtype) -> torch.dtype:
        return dtype  # products round once, when they store

    @property
    def shape(self) -> tuple[int, ...]:
        """The `Shape` of lstm_cuda_bind.cpp."""
        own = self.weights
        sizes = (self.steps, self.batch, self.rows, own.hidden_size, 0 if own.w_hr is None else own.out_features)
        return (*sizes, address(self.batch_sizes), self.reverse, DTYPE_CODES[self.dtype], allows_tf32())

    def forward(self, *args) -> None:
        self.run_forward([(self, args)])

    def backward(self, *args) -> None:
        self.run_backward([(self, args)])

    @classmethod
    def forward_layer(cls, passes, options) -> None:
        cls.run_forward([(one.direction, one.tensors) for one in passes])

    @classmethod
    def backward_layer(cls, passes, options) -> None:
        calls = []
        for one in passes:
            own = one.grad_weights
            into = (one.grad_input, own.w_ih, own.w_hh, own.b_ih, own.w_hr, *one.grad_states)
            calls.append((one.direction, (*one.tensors, into, one.direction.reverse)))
        cls.run_backward(calls)

    @staticmethod
    def run_forward(calls) -> None:
        """`forward` of the directions of a layer, each with its arguments."""
        states = [direction.prepare_forward(*args) for direction, args in calls]
        (first, (input, _, _, output, *_)), *_ = calls
        tensors = [
            [
                address(tensor)
                for tensor in (direction.weights.w_hh, direction.weights.w_hr, preactivations, cells, h, c, args[3], m)
            ]
            for (direction, args), (preactivations, cells, h, c, m) in zip(calls, states, strict=True)
        ]
        shapes = [direction.shape for direction, _ in calls]
        tiles = first.tiles(input, len(calls))
        call(input, "lstm_forward_steps", shapes, tensors, output.stride(0), tiles)
        for (_, (*_, h_n, c_n, _, _)), (_, _, h, c, _) in zip(calls, states, strict=True):
            if h_n is not None:
                h_n.copy_(h)
            c_n.copy_(c)

    def prepare_forward(self, input, h0, c0, output, h_n, c_n, preactivations, cells):
        """The input's part of the gates, and the state: (preactivations, cells, h, c, m)."""
        own, sums = self.weights, compute_dtype(self.dtype)
        if preactivations is None:
            preactivations = input.new_empty((self.rows, 4 * own.hidden_size), dtype=sums)
        h = self.state(h0, own.out_features, input, self.dtype)
        c = self.state(c0, own.hidden_size, input, sums)
        tensors = (input, own.w_ih, own.b_ih, own.b_hh, preactivations)
        call(input, "lstm_input_gates", self.shape, [address(t) for t in tensors], own.w_ih.shape[1])
        m = None if own.w_hr is None else input.new_empty((self.batch, own.hidden_size))
        return preactivations, cells, h, c, m

    @staticmethod
    def run_backward(calls) -> None:
        """`backward` of the directions of a layer, each with its arguments."""
        prepared = [direction.prepare_backward(*args) for direction, args in calls]
        (first, (input, _, _, output, _, _, grad_output, *_)), *_ = calls
        call(
            input,
            "lstm_backward_steps",
            [direction.shape for direction, _ in calls],
            [[address(tensor) for tensor in tensors] for tensors, _ in prepared],
            [[address(tensor) for tensor in found] for _, found in prepared],
            output.stride(0),
            grad_output.stride(0),
            first.tiles(input, len(calls)),
        )
        for (direction, (input, *_, into, add)), (_, found) in zip(calls, prepared, strict=True):
            direction.finish_backward(input, found, into, add)

    def prepare_backward(self, input, h0, c0, output, preactivations, cells, grad_output, grad_h_n, grad_c_n, *_):
        """What the kernel reads and what it fills."""
        own, sums = self.weights, compute_dtype(self.dtype)
        hidden, out = own.hidden_size, own.out_features
        h0 = self.state(h0, out, input, self.dtype)
        c0 = self.state(c0, hidden, input, sums)
        grad_h = self.state(grad_h_n, out, input, sums)
        grad_c = self.state(grad_c_n, hidden, input, sums)
        deltas = input.new_empty((self.rows, 4 * hidden))
        previous = input.new_empty((self.rows, out))
        projected = m = grad_m = None
        if own.w_hr is not None:
            projected, m = torch.empty_like(previous), input.new_empty((self.rows, hidden))
            grad_m = torch.empty_like(grad_c)
        reads = (own.w_hh, own.w_hr, preactivations, cells, output, h0, c0, grad_output)
        return reads, (grad_h, grad_c, deltas, previous, projected, m, grad_m)

    def finish_backward(self, input, found, into, add) -> None:
        """The products that span all steps."""
        own = self.weights
        grad_h, grad_c, deltas, previous, projected, m, _ = found
        grad_input, *of_weights, grad_h0, grad_c0 = into
        self.weight_gradients(of_weights, input, deltas, previous, projected, m)
        if grad_input is not None:
            target = torch.empty_like(grad_input) if add else grad_input
            product(deltas, own.w_ih.t(), target)
            if add:
                grad_input += target
        if grad_h0 is not None:
            grad_h0.copy_(grad_h)
        if grad_c0 is not None:
            grad_c0.copy_(grad_c)

    def weight_gradients(self, into, input, deltas, previous, projected, m) -> None:
        """One product over all steps for each weight; `previous` holds the h that each row's step started from."""
        w_ih, w_hh, bias, w_hr = into
        if w_ih is not None:
            product(deltas.t(), input.view(self.rows, self.weights.w_ih.shape[1]).t(), w_ih)
        if w_hh is not None:
            product(deltas.t(), previous.t(), w_hh)
        if w_hr is not None:
            product(projected.t(), m.t(), w_hr)
        if bias is not None:
            gradient(deltas, bias)

    @staticmethod
    def drop(tensor, into, layer, seed, probability) -> torch.Tensor:
        keep = keep_mask(seed, (layer, *tensor.shape), probability)[-1]
        scale = 0.0 if probability == 1 else 1 / (1 - probability)
        return into.copy_(torch.where(keep, tensor * scale, torch.zeros_like(tensor)))


class Direction(Steps):
    """All steps in one launch where the recurrent weights fit into a cluster, which needs compute capability 9.0."""

    def tiles(self, like: torch.Tensor, directions: int) -> int:
        hidden = self.weights.hidden_size
        if self.weights.w_hr is not None or hidden > _MOST_HIDDEN[self.dtype] or not has_clusters(like):
            return 0
        clusters = max(1, multiprocessors(like) // (-(-hidden // _BLOCK_UNITS) * directions))
        # As few sequences in a cluster as let all clusters run at once.
        most = _MOST_TILES if hidden <= _MOST_NARROW[self.dtype] else 1
        return min(most, max(1, -(-self.batch // (_TILE * clusters))))


def has_clusters(tensor: torch.Tensor) -> bool:
    # The machine code for clusters is that of 9.0; later GPUs run the portable PTX, which has none.
    return not tensor.is_cuda or torch.cuda.get_device_capability(tensor.device) == (9, 0)


def multiprocessors(tensor: torch.Tensor) -> int:
    if not tensor.is_cuda:
        return _H200_MULTIPROCESSORS
    return torch.cuda.get_device_properties(tensor.device).multi_processor_count


forward, backward = layers.forward_by(Direction), layers.backward_by(Direction)
RUNGS = {"steps": Kernels(supports, layers.forward_by(Steps), layers.backward_by(Steps))}
