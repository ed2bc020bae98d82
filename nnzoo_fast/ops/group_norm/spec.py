"""The calls of `group_norm` that are checked and timed."""

import functools
import math

import torch
import torch.nn.functional as F

from nnzoo_fast.norms.channel_samples import bench_case, image, named
from nnzoo_fast.ops.group_norm import group_norm, operation
from nnzoo_fast.spec import Call, ErrorSample, OpSpec, Sample


def shaped(shape, groups, affine=True, last=False, shift=0.0, strided=False, eps=1e-5):
    def make(maker):
        weight, bias = (maker.normal(shape[1]) if affine else None for _ in range(2))
        return Call((image(maker, shape, last, shift, strided), groups, weight, bias, eps))

    words = f"by{groups}", "" if affine else "plain", "last" if last else "", "strided" if strided else ""
    return Sample(named(shape, *words), make)


def wrong(id, exception, message, **changes):
    def make(maker):
        return Call((), {"input": maker.normal(6, 4, 3), "num_groups": 2, **changes})

    return ErrorSample(id, make, exception, message)


def bench(shape, groups, last=False, quick=False):
    return bench_case(shaped(shape, groups, last=last), shape, operation.flops(shape, groups, None, None, 1e-5), quick)


SPEC = OpSpec(
    name="group_norm",
    function=group_norm,
    stock=F.group_norm,
    samples=[
        shaped((2, 6, 7), 3),
        shaped((5, 20), 2),
        shaped((0, 4, 3), 2),
        shaped((2, 4, 5, 3), 1, affine=False),
        shaped((3, 21, 5, 7), 7, last=True),
        shaped((2, 36, 3, 2, 3), 2, last=True, affine=False),
        shaped((1, 2, 4100), 1),
        shaped((9, 6, 3, 3), 6, shift=4.0),
        shaped((3, 6, 6), 2, strided=True),
    ],
    errors=[
        wrong("groups", RuntimeError, "num_groups is 3", num_groups=3),
        wrong("no-groups", RuntimeError, "num_groups is 0", num_groups=0),
        wrong("input-1d", RuntimeError, "input is", input=torch.ones(4)),
        wrong("input-list", TypeError, "input", input=[1.0]),
        wrong("bias-size", RuntimeError, "bias is", bias=torch.ones(3)),
    ],
    bench=[bench((8, 256, 32, 32), 32, quick=True), bench((8, 256, 32, 32), 32, last=True)],
    variants={
        "two sweeps": functools.partial(group_norm, backend="cpu_two_sweeps"),
        "a group at a time": functools.partial(group_norm, backend="cpu"),
    },
    length=lambda call: math.prod(call.args[0].shape) if call.args else 1,
)
