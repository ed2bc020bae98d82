"""The calls of `instance_norm` that are checked and timed."""

import math

import torch
import torch.nn.functional as F

from nnzoo_fast.norms.channel_samples import bench_case, image, named
from nnzoo_fast.ops.instance_norm import instance_norm
from nnzoo_fast.spec import Call, ErrorSample, OpSpec, Sample


def shaped(shape, affine=True, last=False):
    def make(maker):
        weight, bias = (maker.normal(shape[1]) if affine else None for _ in range(2))
        return Call((image(maker, shape, last), None, None, weight, bias))

    return Sample(named(shape, "" if affine else "plain", "last" if last else ""), make)


def wrong(id, exception, message, **changes):
    return ErrorSample(id, lambda maker: Call((), {"input": maker.normal(6, 4, 3), **changes}), exception, message)


def bench(shape, quick=False):
    return bench_case(shaped(shape), shape, 8 * math.prod(shape), quick)


SPEC = OpSpec(
    name="instance_norm",
    function=instance_norm,
    stock=F.instance_norm,
    samples=[shaped((2, 3, 11)), shaped((2, 9, 5, 7), affine=False), shaped((3, 18, 3, 5), last=True)],
    errors=[
        wrong("one-value", ValueError, "more than 1", input=torch.ones(3, 4, 1)),
        wrong("weight-size", RuntimeError, "weight is", weight=torch.ones(3)),
    ],
    bench=[bench((8, 256, 32, 32), quick=True)],
    length=lambda call: math.prod(call.args[0].shape) if call.args else 1,
)
