"""The calls of `batch_norm` that are checked and timed."""

import functools
import math

import torch
import torch.nn.functional as F

from nnzoo_fast.norms.channel_samples import bench_case, image, named
from nnzoo_fast.ops.batch_norm import batch_norm, operation
from nnzoo_fast.spec import Call, ErrorSample, OpSpec, Sample


def shaped(shape, training=True, affine=True, running=False, last=False, shift=0.0, strided=False, eps=1e-5):
    def make(maker):
        channels = shape[1]
        mean, variance = None, None
        if running or not training:
            mean = maker.normal(channels, grad=False)
            variance = maker.wrap(maker.normal(channels).detach().double().square() + 0.5, grad=False)
        weight, bias = (maker.normal(channels) if affine else None for _ in range(2))
        return Call((image(maker, shape, last, shift, strided), mean, variance, weight, bias, training, 0.1, eps))

    words = "" if training else "eval", "" if affine else "plain", "running" if running else ""
    return Sample(named(shape, *words, "last" if last else "", "strided" if strided else ""), make)


def wrong(id, exception, message, **changes):
    def make(maker):
        call = {"input": maker.normal(6, 4, 3), "running_mean": None, "running_var": None, "training": True}
        return Call((), {**call, **changes})

    return ErrorSample(id, make, exception, message)


def bench(shape, training=True, last=False, quick=False):
    flops = operation.flops(shape, None, None, None, None, training, 1e-5)
    return bench_case(shaped(shape, training, last=last), shape, flops, quick)


SPEC = OpSpec(
    name="batch_norm",
    function=batch_norm,
    stock=F.batch_norm,
    samples=[
        shaped((5, 3, 7)),
        shaped((9, 19)),
        shaped((2, 1, 5, 3), affine=False),
        shaped((3, 21, 5, 7), last=True),
        shaped((2, 70, 3, 4, 3), last=True, affine=False),
        shaped((2, 3, 4100)),
        shaped((4, 6, 3, 3), shift=4.0, running=True),
        shaped((3, 5, 6), strided=True),
        shaped((4, 17, 5), training=False),
        shaped((4, 17), training=False, affine=False),
        shaped((2, 18, 3, 5), training=False, last=True),
    ],
    errors=[
        wrong("one-value", ValueError, "more than 1 value", input=torch.ones(1, 4)),
        wrong("input-1d", RuntimeError, "input is", input=torch.ones(4)),
        wrong("input-list", TypeError, "input", input=[1.0]),
        wrong("weight-size", RuntimeError, "weight is", weight=torch.ones(3)),
        wrong("no-statistics", RuntimeError, "running_mean and running_var", training=False),
        wrong(
            "statistics-size",
            RuntimeError,
            "running_var is",
            training=False,
            running_mean=torch.ones(4),
            running_var=torch.ones(5),
        ),
    ],
    bench=[
        bench((32, 64, 56, 56), quick=True),
        bench((32, 64, 56, 56), last=True),
        bench((32, 64, 56, 56), training=False, quick=True),
    ],
    variants={
        "two sweeps": functools.partial(batch_norm, backend="cpu_two_sweeps"),
        "a channel at a time": functools.partial(batch_norm, backend="cpu"),
    },
    length=lambda call: math.prod(call.args[0].shape) if call.args else 1,
)
