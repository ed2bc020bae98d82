"""What PyTorch's samples leave out of the convolution layers: padding modes, unequal sizes, strides, groups."""

import layers
import pytest
import torch
from built import needs_kernels

import nnzoo_fast
from nnzoo_fast import _extension
from nnzoo_fast.explain import reached_by

MODES = ["zeros", "reflect", "replicate", "circular"]
STOCK = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
SIZES = {1: (11,), 2: (9, 7), 3: (5, 7, 6)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 1)}


def example(dimensions, batch=(2,), channels=(4, 6), **options):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(*batch, channels[0], *SIZES[dimensions], generator=generator, dtype=torch.float64)
    label = "-".join(f"{name}={value}" for name, value in options.items())
    options.setdefault("kernel_size", KERNELS[dimensions])
    constructor = channels, options
    return pytest.param(layers.Example(label, STOCK[dimensions], constructor, ((x,), {})), id=f"{dimensions}d-{label}")


def examples():
    for n in STOCK:
        for mode in MODES:
            yield example(n, padding_mode=mode, padding=KERNELS[n][0] - 1)
            yield example(n, padding_mode=mode, padding="same", dilation=2)
        yield example(n, padding_mode="circular", padding=tuple(range(n)), stride=2, groups=2)
        yield example(n, padding="valid", stride=tuple(range(1, n + 1)), bias=False)
        yield example(n, groups=4, channels=(4, 8), dilation=2)
        yield example(n, groups=4, channels=(4, 4), padding=1, batch=())
        yield example(n, kernel_size=1, stride=3)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("example", list(examples()))
def test_equals_stock(example, dtype):
    with nnzoo_fast.backend("cpu"):
        problems = layers.deviations(example, example.build_ours(dtype), dtype)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("mode", MODES[1:])
def test_another_padding_mode_fails(mode):
    (case,) = example(2, padding_mode=mode, padding=1).values
    layer = case.build_ours()
    layer.padding_mode = "zeros"
    assert layers.deviations(case, layer, torch.float32)


@pytest.mark.parametrize(
    "options, exception",
    [
        ({"padding_mode": "mirror"}, ValueError),
        ({"padding": "full"}, ValueError),
        ({"padding": "same", "stride": 2}, ValueError),
        ({"groups": 3}, ValueError),
        ({"groups": 0}, ValueError),
    ],
    ids=str,
)
def test_wrong_arguments_raise_as_in_torch(options, exception):
    for cls in (torch.nn.Conv2d, nnzoo_fast.nn.Conv2d):
        with pytest.raises(exception):
            cls(4, 6, 3, **options)


@pytest.mark.parametrize("shape", [(4, 9), (2, 2, 4, 9, 9), (2, 5, 9, 9), (2, 4, 2, 2)], ids=str)
def test_wrong_inputs_raise_as_in_torch(shape):
    for cls in (torch.nn.Conv2d, nnzoo_fast.nn.Conv2d):
        with pytest.raises(RuntimeError):
            cls(4, 6, 3)(torch.zeros(shape))


def test_channels_last_stays_channels_last():
    x = torch.randn(2, 4, 9, 8).to(memory_format=torch.channels_last)
    ours = nnzoo_fast.nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    stock = nnzoo_fast.restore(ours)(x)
    nnzoo_fast.accelerate(ours)
    with nnzoo_fast.backend("cpu" if _extension._C else None):
        found = ours(x)
    assert found.is_contiguous(memory_format=torch.channels_last) and stock.stride() == found.stride()
    torch.testing.assert_close(found, stock)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_a_sequential_joins_a_convolution_and_its_activation(mode):
    convolution = nnzoo_fast.nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode)
    both, x = nnzoo_fast.nn.Sequential(convolution, torch.nn.SiLU()), torch.randn(2, 3, 8, 7)
    assert reached_by(both, x)[1][-1] == "silu"
    with nnzoo_fast.backend("cpu" if _extension._C else None):
        torch.testing.assert_close(both(x), torch.nn.functional.silu(convolution(x)))
    convolution.register_forward_hook(lambda *_: None)
    assert reached_by(both, x)[1][-1] == "none"
