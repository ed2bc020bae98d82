"""The calls of `conv` that are checked and timed."""

import functools

import torch
import torch.nn.functional as F

from nnzoo_fast.activations import activate_stock
from nnzoo_fast.ops.conv import conv, cpu, operation
from nnzoo_fast.ops.conv.arguments import per_dimension, resolve_padding
from nnzoo_fast.spec import BenchCase, Call, ErrorSample, OpSpec, Sample


def stock(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, activation="none"):
    function = (F.conv1d, F.conv2d, F.conv3d)[weight.dim() - 3]
    return activate_stock(activation, function(input, weight, bias, stride, padding, dilation, groups))


def im2col(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, activation="none"):
    n = weight.dim() - 2
    stride, dilation = per_dimension("stride", stride, n), per_dimension("dilation", dilation, n)
    padding = resolve_padding(padding, weight.shape[2:], stride, dilation)
    return cpu.forward_im2col(input, weight, bias, stride, padding, dilation, groups, activation)


def made(input, weight, bias=True, channels_last=False, **options):
    """A maker of the call with random tensors of these shapes."""

    def make(maker):
        fan_in = max(1, torch.Size(weight[1:]).numel())
        x = maker.normal(*input)
        if channels_last:
            x = x.detach().movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_(maker.grad)
        w = maker.normal(*weight, scale=fan_in**-0.5)
        return Call((x, w, maker.normal(weight[0]) if bias else None), options)

    return make


def sample(name, input, weight, bias=True, channels_last=False, **options):
    return Sample(name, made(input, weight, bias, channels_last, **options))


def strided(maker):
    """Every second column of a wider input, a weight stored with its channels exchanged."""
    input = maker.normal(2, 3, 9, 22).detach()[..., ::2].requires_grad_(maker.grad)
    weight = maker.normal(3, 5, 3, 3).detach().transpose(0, 1).requires_grad_(maker.grad)
    return Call((input, weight, maker.normal(5, 2).detach()[:, 1].requires_grad_(maker.grad)), {"padding": 1})


def misaligned(maker):
    """Data that starts in the middle of a vector."""
    input = maker.normal(2 * 3 * 11 * 7 + 1).detach()[1:].view(2, 3, 11, 7).requires_grad_(maker.grad)
    return Call((input, maker.normal(4, 3, 3, 2)), {"stride": (2, 1)})


def huge_and_tiny(maker):
    scales = torch.tensor([1e-18, 1.0, 1e18, 0.0], dtype=torch.float64).view(4, 1, 1, 1)
    values = torch.randn(4, 3, 6, 5, generator=maker.generator, dtype=torch.float64) * scales
    return Call((maker.wrap(values), maker.normal(4, 3, 3, 3)), {"padding": 1})


def bench(name, batch, in_channels, size, out_channels, kernel, stride=1, groups=1, quick=False, dims=2):
    shapes = (batch, in_channels, *[size] * dims), (out_channels, in_channels // groups, *[kernel] * dims)
    pad = kernel // 2
    flops = operation.flops(*shapes, None, [stride] * dims, [pad] * 2 * dims, [1] * dims, groups)
    out = (size + 2 * pad - kernel) // stride + 1
    values = sum(torch.Size(shape).numel() for shape in shapes) + out_channels + batch * out_channels * out**dims
    return BenchCase(name, made(*shapes, stride=stride, padding=pad, groups=groups), flops, 4 * values, quick)


def sum_length(call):
    """Gradients of the weight sum over all pixels, outputs over a window, gradients of the input over both."""
    input, weight = call.args[0], call.args[1]
    return max(torch.Size(weight.shape[1:]).numel(), weight.numel(), input.numel() // max(input.shape[1], 1), 1)


SPEC = OpSpec(
    name="conv",
    function=conv,
    stock=stock,
    samples=[
        sample("1d-K3", (2, 3, 17), (5, 3, 3), padding=1),
        sample("1d-K5-stride3-dilation2", (1, 2, 40), (3, 2, 5), stride=3, padding=4, dilation=2),
        sample("1d-unbatched", (4, 9), (6, 4, 2), bias=False),
        sample("2d-1x1", (2, 5, 7, 3), (4, 5, 1, 1)),
        sample("2d-3x3-same", (2, 3, 7, 11), (5, 3, 3, 3), padding="same"),
        sample("2d-2x4-same-dilated", (1, 2, 9, 10), (3, 2, 2, 4), padding="same", dilation=(3, 1)),
        sample("2d-valid", (1, 3, 8, 6), (2, 3, 3, 2), bias=False, padding="valid"),
        sample("2d-pads-differ", (2, 3, 5, 12), (4, 3, 5, 1), padding=(2, 0), stride=(1, 2)),
        sample("2d-stem", (2, 3, 31, 33), (17, 3, 7, 7), stride=2, padding=3),
        sample("2d-stride-beyond-kernel", (2, 3, 14, 13), (4, 3, 2, 1), stride=(3, 4)),
        sample("2d-stride4-dilation4", (1, 2, 25, 21), (3, 2, 3, 3), stride=4, dilation=4, padding=4),
        sample("2d-groups3", (2, 6, 9, 8), (9, 2, 3, 3), groups=3, padding=1),
        sample("2d-depthwise", (2, 7, 10, 11), (7, 1, 3, 3), groups=7, padding=1),
        sample("2d-depthwise-multiplier-stride2", (2, 5, 13, 9), (10, 1, 5, 3), groups=5, padding=2, stride=2),
        sample("2d-kernel-fills-input", (3, 2, 4, 5), (3, 2, 4, 5)),
        sample("2d-all-padding", (1, 2, 1, 1), (3, 2, 3, 3), padding=1),
        sample("2d-many-channels", (2, 70, 6, 7), (50, 70, 3, 3), padding=1),
        sample("2d-channels-last", (2, 19, 9, 7), (33, 19, 3, 3), channels_last=True, padding=1),
        sample("2d-channels-last-1x1", (2, 18, 6, 5), (21, 18, 1, 1), channels_last=True),
        sample("2d-channels-last-depthwise", (2, 6, 8, 7), (6, 1, 3, 3), channels_last=True, groups=6, padding=1),
        sample("2d-channels-last-depthwise-C16", (1, 16, 6, 5), (16, 1, 3, 3), channels_last=True, groups=16),
        sample("2d-unbatched", (3, 8, 7), (4, 3, 3, 3), padding=1),
        sample("2d-one-pixel", (5, 9, 1, 1), (3, 9, 1, 1)),
        sample("2d-batch0", (0, 3, 6, 5), (4, 3, 3, 3)),
        sample("3d-3x3x3", (1, 2, 5, 6, 7), (3, 2, 3, 3, 3), padding=1),
        sample("3d-mixed", (2, 4, 6, 7, 9), (6, 2, 1, 3, 2), stride=(2, 1, 3), padding=(0, 2, 1), groups=2),
        sample("2d-relu", (2, 3, 9, 7), (5, 3, 3, 3), padding=1, activation="relu"),
        sample("2d-1x1-sigmoid", (2, 5, 4, 3), (6, 5, 1, 1), bias=False, activation="sigmoid"),
        sample("2d-groups-gelu", (2, 4, 7, 6), (6, 2, 3, 3), groups=2, stride=2, activation="gelu"),
        sample("2d-depthwise-tanh", (2, 5, 8, 6), (10, 1, 3, 3), groups=5, activation="tanh"),
        sample("2d-channels-last-gelu_tanh", (2, 8, 5, 6), (16, 8, 3, 3), channels_last=True, activation="gelu_tanh"),
        sample("2d-channels-last-1x1-silu", (2, 8, 4, 5), (24, 8, 1, 1), channels_last=True, activation="silu"),
        sample(
            "2d-channels-last-depthwise-silu",
            (2, 8, 6, 9),
            (8, 1, 3, 3),
            channels_last=True,
            groups=8,
            padding=1,
            activation="silu",
        ),
        sample("1d-unbatched-silu", (40, 19), (9, 40, 3), activation="silu"),
        Sample("2d-strided-views", strided),
        Sample("2d-misaligned", misaligned),
        Sample("2d-huge-and-tiny", huge_and_tiny),
    ],
    errors=[
        ErrorSample("weight-2d", lambda m: Call((m.normal(1, 3, 5), m.normal(4, 3))), RuntimeError, "weight"),
        ErrorSample("input-2d", lambda m: Call((m.normal(3, 5), m.normal(4, 3, 3, 3))), RuntimeError, "input"),
        ErrorSample(
            "channels", lambda m: Call((m.normal(1, 4, 5, 5), m.normal(4, 3, 3, 3))), RuntimeError, "input .* channels"
        ),
        ErrorSample(
            "groups",
            lambda m: Call((m.normal(1, 4, 5, 5), m.normal(3, 2, 3, 3)), {"groups": 2}),
            RuntimeError,
            "groups",
        ),
        ErrorSample(
            "groups-0",
            lambda m: Call((m.normal(1, 4, 5, 5), m.normal(4, 4, 3, 3)), {"groups": 0}),
            RuntimeError,
            "groups",
        ),
        ErrorSample(
            "kernel-beyond-input", lambda m: Call((m.normal(1, 3, 4, 4), m.normal(4, 3, 5, 3))), RuntimeError, "smaller"
        ),
        ErrorSample(
            "stride-0",
            lambda m: Call((m.normal(1, 3, 4, 4), m.normal(4, 3, 3, 3)), {"stride": 0}),
            RuntimeError,
            "stride",
        ),
        ErrorSample(
            "stride-count",
            lambda m: Call((m.normal(1, 3, 4, 4), m.normal(4, 3, 3, 3)), {"stride": (1, 1, 1)}),
            RuntimeError,
            "stride",
        ),
        ErrorSample(
            "stride-float",
            lambda m: Call((m.normal(1, 3, 4, 4), m.normal(4, 3, 3, 3)), {"stride": 1.5}),
            TypeError,
            "stride",
        ),
        ErrorSample(
            "padding-negative",
            lambda m: Call((m.normal(1, 3, 4, 4), m.normal(4, 3, 3, 3)), {"padding": -1}),
            RuntimeError,
            "padding",
        ),
        ErrorSample(
            "padding-word",
            lambda m: Call((m.normal(1, 3, 4, 4), m.normal(4, 3, 3, 3)), {"padding": "full"}),
            RuntimeError,
            "padding",
        ),
        ErrorSample(
            "same-with-stride",
            lambda m: Call((m.normal(1, 3, 4, 4), m.normal(4, 3, 3, 3)), {"padding": "same", "stride": 2}),
            RuntimeError,
            "same",
        ),
        ErrorSample(
            "dilation-0",
            lambda m: Call((m.normal(1, 3, 4, 4), m.normal(4, 3, 3, 3)), {"dilation": 0}),
            RuntimeError,
            "dilation",
        ),
        ErrorSample(
            "bias-size", lambda m: Call((m.normal(1, 3, 4, 4), m.normal(4, 3, 3, 3), m.normal(3))), RuntimeError, "bias"
        ),
        ErrorSample(
            "weight-dtype",
            lambda m: Call((m.normal(1, 3, 4, 4), m.normal(4, 3, 3, 3).detach().half())),
            RuntimeError,
            "weight",
        ),
        ErrorSample(
            "activation",
            lambda m: Call((m.normal(1, 3, 4, 4), m.normal(4, 3, 3, 3)), {"activation": "swish"}),
            ValueError,
            "activation is 'swish'",
        ),
    ],
    counted=[
        sample("N1-C32-8x16-K32-3x3", (1, 32, 8, 16), (32, 32, 3, 3), padding=1),
        sample("N1-C32-8x16-K32-3x3-channels-last", (1, 32, 8, 16), (32, 32, 3, 3), channels_last=True, padding=1),
        sample("N2-C32-14x14-depthwise-3x3", (2, 32, 14, 14), (32, 1, 3, 3), groups=32, padding=1),
        sample("N1-C32-L128-K32-3", (1, 32, 128), (32, 32, 3), padding=1),
    ],
    bench=[
        bench("resnet-3x3-56-64", 8, 64, 56, 64, 3, quick=True),
        bench("resnet-3x3-28-128", 8, 128, 28, 128, 3, quick=True),
        bench("resnet-3x3-14-256", 8, 256, 14, 256, 3),
        bench("resnet-3x3-7-512", 8, 512, 7, 512, 3),
        bench("resnet-3x3-28-128-batch32", 32, 128, 28, 128, 3),
        bench("stem-7x7-stride2", 8, 3, 224, 64, 7, stride=2, quick=True),
        bench("3x3-56-128-stride2", 8, 128, 56, 128, 3, stride=2),
        bench("1x1-56-256-64", 8, 256, 56, 64, 1, quick=True),
        bench("1x1-56-64-256", 8, 64, 56, 256, 1),
        bench("depthwise-3x3-56-64", 8, 64, 56, 64, 3, groups=64),
        bench("groups32-3x3-28-128", 8, 128, 28, 128, 3, groups=32),
        bench("3x3-56-64-batch16", 16, 64, 56, 64, 3),
        bench("stem-7x7-stride2-batch16", 16, 3, 224, 64, 7, stride=2),
        bench("1x1-56-256-64-batch16", 16, 256, 56, 64, 1),
        bench("depthwise-3x3-56-192", 8, 192, 56, 192, 3, groups=192),
        bench("1d-k9-4096-64-batch16", 16, 64, 4096, 64, 9, dims=1),
        bench("3d-3x3x3-32-16-32", 2, 16, 32, 32, 3, dims=3),
        bench("lenet-5x5-28", 64, 1, 28, 6, 5),
        bench("cifar-3x3-32", 32, 3, 32, 64, 3),
    ],
    length=sum_length,
    variants={"im2col": im2col, "implicit GEMM": functools.partial(conv, backend="cpu")},
)
