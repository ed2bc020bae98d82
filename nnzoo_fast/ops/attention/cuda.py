"""`attention` on the kernels of `csrc/ops/attention/*_cuda.cu`."""

from typing import NamedTuple

import torch

from nnzoo_fast.backends import Verdict, address
from nnzoo_fast.cuda_support import Kernels, call, module_of
from nnzoo_fast.ops.attention.layout import Layout, allocate, kernels_support
from nnzoo_fast.ops.attention.places import plain_places

MOST_FEATURES = 256
"""The largest size of a head whose sums fit in the registers of a thread; half of it in float64."""


def supports(query, key, value, *others) -> Verdict:
    most = MOST_FEATURES // (2 if query.dtype == torch.float64 else 1)
    size = max(query.shape[-1], value.shape[-1])
    if size > most:
        return False, f"heads of size {size}, these kernels hold {most} in {query.dtype}"
    able, reason = plain_places(*others[6:])
    return kernels_support(query, key, value, *others) if able else (able, reason)


class Ladder(NamedTuple):
    """The kernels of one rung; `Rung` in attention_cuda.h."""

    rung: int

    def forward(self, *args):
        *args, training = args
        output, statistics = allocate(*args, training)
        if output.numel() or statistics.numel():
            layout = Layout(*args)  # keeps its copies alive while the kernel reads them
            wanted = statistics.data_ptr() if statistics.numel() else 0
            call(output, "attention_forward", layout.inputs(module_of(output)), output.data_ptr(), wanted, self.rung)
        return output, statistics

    def backward(self, grads, args, outputs, needs):
        layout = Layout(*args)
        output, statistics = outputs
        *needs_each, needs_mask = needs[:4]
        grad = grads[0].contiguous()
        delta = torch.empty_like(statistics)
        make = grad.new_zeros if layout.is_empty else grad.new_empty
        leads = (layout.lead, layout.kv_lead, layout.kv_lead)
        found = [
            make(lead + tensor.shape[-2:]) if needed else None
            for tensor, lead, needed in zip(args[:3], leads, needs_each, strict=True)
        ]
        inputs = layout.inputs(module_of(grad))
        upstream = [address(tensor) for tensor in (output, grad, statistics)]
        if not layout.is_empty:
            call(grad, "attention_delta", inputs, upstream, delta.data_ptr(), self.rung)
            wanted = [address(tensor) for tensor in found]
            call(grad, "attention_backward", inputs, upstream, delta.data_ptr(), wanted, self.rung)
        found = [
            None if tensor is None else tensor.sum_to_size(like.shape)
            for tensor, like in zip(found, args, strict=False)
        ]
        found.append(self.mask_gradient(layout, args[3], grad, inputs, upstream, delta) if needs_mask else None)
        return (*found, *[None] * (len(needs) - 4))

    def mask_gradient(self, layout: Layout, attn_mask: torch.Tensor, grad: torch.Tensor, inputs, upstream, delta):
        """The kernel sums over dimensions in which a mask of up to four is broadcast; torch over those of others."""
        batch, heads, _, queries, keys, _, _ = layout.sizes
        direct = attn_mask.dim() <= 4 and len(layout.lead) <= 2
        shape = (1,) * (4 - attn_mask.dim()) + attn_mask.shape if direct else (batch, heads, queries, keys)
        grad_mask = grad.new_zeros(shape, dtype=layout.sums)
        if not layout.is_empty:
            place = (grad_mask.data_ptr(), grad_mask.shape, grad_mask.stride())
            call(grad, "attention_mask_backward", inputs, upstream, delta.data_ptr(), *place, self.rung)
        if not direct:
            grad_mask = grad_mask.reshape(*layout.lead, queries, keys).sum_to_size(attn_mask.shape)
        return grad_mask.reshape(attn_mask.shape).to(attn_mask.dtype)


def supports_tensor_cores(query, *others) -> Verdict:
    if query.dtype not in (torch.bfloat16, torch.float16):
        return False, f"{query.dtype}: tensor cores multiply bfloat16 and float16"
    return supports(query, *others)


_NAIVE, _TILED, _TENSOR, _PIPELINED, _HOPPER = map(Ladder, range(5))
forward, backward = _HOPPER.forward, _HOPPER.backward
RUNGS = {
    "naive": Kernels(supports, _NAIVE.forward, _NAIVE.backward),
    "tiled": Kernels(supports, _TILED.forward, _TILED.backward),
    "tensor": Kernels(supports_tensor_cores, _TENSOR.forward, _TENSOR.backward),
    "pipelined": Kernels(supports_tensor_cores, _PIPELINED.forward, _PIPELINED.backward),
}
