"""The calls of `conv_transpose` that are checked and timed."""

import functools

import torch
import torch.nn.functional as F

from nnzoo_fast.ops.conv_transpose import conv_transpose, operation
from nnzoo_fast.ops.conv_transpose.outputs import output_size
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[weight.dim() - 3]
    return function(input, weight, bias, stride, padding, output_padding, groups, dilation)


def made(input, weight, bias=True, channels_last=False, **options):
    """A maker of the call with random tensors of these shapes."""

    def make(maker):
        x = maker.normal(*input)
        if channels_last:
            x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_(maker.grad)
        w = maker.normal(*weight, scale=max(1, weight[0]) ** -0.5)
        return Call((x, w, maker.normal(weight[1] * options.get("groups", 1)) if bias else None), options)

    return make


def sample(name, input, weight, bias=True, channels_last=False, **options):
    return Sample(name, made(input, weight, bias, channels_last, **options))


def error(name, message, input=(1, 4, 5, 5), weight=(4, 3, 3, 3), exception=RuntimeError, **options):
    return ErrorSample(
        name, lambda maker: Call((maker.normal(*input), maker.normal(*weight)), options), exception, message
    )


def bench(name, batch, in_channels, size, out_channels, kernel, stride, padding=0, quick=False):
    shapes = (batch, in_channels, size, size), (in_channels, out_channels, kernel, kernel)
    settings = [stride] * 2, [padding] * 2, [0] * 2
    out = output_size(shapes[0][2:], shapes[1][2:], *settings, [1] * 2)
    values = sum(torch.Size(shape).numel() for shape in (*shapes, (out_channels,), (batch, out_channels, *out)))
    flops = operation.flops(*shapes, None, *settings, 1, [1] * 2)
    return BenchCase(name, made(*shapes, stride=stride, padding=padding), flops, 4 * values, quick)


def sum_length(call):
    """Gradients of the weight sum over all pixels, outputs and gradients of the input over channels and taps."""
    input, weight = call.args[0], call.args[1]
    return max(weight.numel(), input.numel() // max(input.shape[1], 1), 1)


SPEC = OpSpec(
    name="conv_transpose",
    function=conv_transpose,
    stock=stock,
    samples=[
        sample("1d-K3-stride2", (2, 3, 9), (3, 5, 3), stride=2, padding=1, output_padding=1),
        sample("1d-unbatched-gaps", (3, 4), (3, 2, 2), bias=False, stride=4),
        sample("2d-4x4-stride2", (2, 5, 6, 7), (5, 9, 4, 4), stride=2, padding=1),
        sample("2d-2x2-stride2", (2, 18, 5, 3), (18, 7, 2, 2), stride=2),
        sample("2d-patches-groups", (2, 6, 3, 19), (6, 4, 3, 2), stride=(3, 2), groups=2),
        sample("2d-patches-channels-last", (2, 5, 4, 18), (5, 6, 2, 2), channels_last=True, stride=2),
        sample("2d-1x1", (2, 5, 7, 3), (5, 4, 1, 1)),
        sample("2d-mixed", (1, 4, 5, 6), (4, 3, 3, 2), stride=(3, 1), padding=(4, 0), groups=2, dilation=(3, 2)),
        sample("2d-output-padding-beyond-stride", (1, 2, 4, 3), (2, 3, 3, 3), dilation=3, output_padding=(2, 1)),
        sample("2d-depthwise", (2, 5, 6, 7), (5, 1, 3, 3), stride=2, padding=1, groups=5),
        sample("2d-channels-last", (2, 19, 5, 4), (19, 33, 3, 3), channels_last=True, stride=2, padding=1),
        sample("2d-batch0", (0, 3, 4, 5), (3, 4, 3, 3), stride=2),
        sample("3d-patches", (1, 4, 2, 3, 17), (4, 3, 2, 2, 2), stride=2),
        sample("3d", (1, 3, 3, 4, 2), (3, 2, 2, 3, 3), stride=(2, 1, 2), padding=(0, 1, 1), output_padding=(1, 0, 0)),
    ],
    errors=[
        error("weight-2d", "weight", weight=(4, 3)),
        error("input-2d", "input", input=(3, 5)),
        error("channels", "input .* channels", input=(1, 3, 5, 5)),
        error("groups", "groups", groups=3),
        error("groups-0", "groups", groups=0),
        error("stride-0", "stride", stride=0),
        error("stride-count", "stride", stride=(1, 1, 1)),
        error("stride-float", "stride", exception=TypeError, stride=1.5),
        error("padding-negative", "padding", padding=-1),
        error("padding-word", "padding", exception=TypeError, padding="same"),
        error("padding-all", "padding", padding=4),
        error("output-padding-large", "output_padding", output_padding=2, stride=2),
        error("output-padding-negative", "output_padding", output_padding=-1),
        error("dilation-0", "dilation", dilation=0),
        error("no-pixels", "pixels", input=(1, 4, 0, 5)),
        ErrorSample(
            "bias-size", lambda m: Call((m.normal(1, 4, 5, 5), m.normal(4, 3, 3, 3), m.normal(4))), RuntimeError, "bias"
        ),
        ErrorSample(
            "weight-dtype",
            lambda m: Call((m.normal(1, 4, 5, 5), m.normal(4, 3, 3, 3).detach().half())),
            RuntimeError,
            "weight",
        ),
    ],
    bench=[
        bench("4x4-stride2-16-128-64", 16, 128, 16, 64, 4, 2, 1, quick=True),
        bench("4x4-stride2-8-256-128", 16, 256, 8, 128, 4, 2, 1),
        bench("unet-2x2-stride2-32-128-64", 8, 128, 32, 64, 2, 2),
        bench("dcgan-4x4-stride2-32-64-3", 16, 64, 32, 3, 4, 2, 1),
    ],
    length=sum_length,
    variants={"one convolution a residue class": functools.partial(conv_transpose, backend="cpu")},
)
