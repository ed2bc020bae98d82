"""What the specs of batch_norm, group_norm and instance_norm share: inputs, and calls worth timing."""

from __future__ import annotations

import math

import torch

from nnzoo_fast.spec import BenchCase, Sample


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` [N, C, *] as a leaf with adjacent channels."""
    layout = torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d
    return tensor.detach().to(memory_format=layout).requires_grad_(tensor.requires_grad)


def image(maker, shape, last=False, shift=0.0, strided=False) -> torch.Tensor:
    """A normally distributed input; `strided`: every second position of a transposed one."""
    if strided:
        wide = maker.normal(*shape[:-1], 2 * shape[-1], shift=shift).detach()
        return wide[..., ::2].requires_grad_(maker.grad)
    made = maker.normal(*shape, shift=shift)
    return channels_last(made) if last else made


def named(shape, *words: str) -> str:
    return "-".join(["x".join(map(str, shape)), *filter(None, words)])


def bench_case(sample: Sample, shape, flops: int, quick: bool) -> BenchCase:
    return BenchCase(sample.id, sample.make, flops, 8 * math.prod(shape), quick)
