"""The CUDA kernels of `conv` beyond the samples of the matrix, on the emulator: which kernel a call goes to, random
geometry on every rung, channels enough for regions and wide tiles, parts, and tensors of more than 2^31 elements."""

import json
import random
from pathlib import Path

import pytest
import torch
from test_conv import random_call

import nnzoo_fast
from nnzoo_fast import _extension
from nnzoo_fast.ops import conv
from nnzoo_fast.ops.conv import channels_last, cuda, cuda_depthwise, cuda_fast
from nnzoo_fast.ops.conv.spec import SPEC, made
from nnzoo_fast.spec import Error, Maker, Sample, allowed_for, errors_of, oracle_and_stock, run_with_gradients

pytestmark = pytest.mark.skipif(
    _extension.load("_cuemu") is None, reason="the emulator is part of development builds only (make build)"
)


@pytest.fixture
def kernels(monkeypatch):
    """The kernels that are called, in turn."""
    seen = []

    def call(tensor, kernel, *args):
        seen.append(kernel.removeprefix("conv_"))
        return real(tensor, kernel, *args)

    real = cuda_fast.call
    for module in (cuda_fast, cuda_depthwise, channels_last):
        monkeypatch.setattr(module, "call", call)
    return seen


@pytest.fixture(params=[False, True])
def allow_tf32(request):
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = request.param
    yield request.param
    torch.backends.cuda.matmul.allow_tf32 = before


def assert_as_promised(make, dtype, backend="cuemu"):
    """As near to the oracle as the matrix asks."""
    call = make(Maker(dtype))
    oracle, stock = oracle_and_stock(SPEC, call)
    allowed = allowed_for(SPEC, Sample("", make), call, dtype, errors_of(stock, oracle))
    with nnzoo_fast.backend(backend):
        errors = errors_of(run_with_gradients(SPEC.function, call), oracle)
    assert all(error.within(most) for error, most in zip(errors, allowed, strict=True)), errors


@pytest.mark.parametrize("rung, count", [("cuemu_naive", 8), ("cuemu_tiled", 8), ("cuemu", 40)])
def test_random_geometry(rung, count, poisoned_memory):
    choice = random.Random(rung)
    for _ in range(count):
        call = random_call(choice)
        expected = run_with_gradients(SPEC.stock, call)
        with nnzoo_fast.backend(rung):
            found = run_with_gradients(conv, call)
        for one, other in zip(sum(found, []), sum(expected, []), strict=True):
            error = Error.of(one, other)
            assert max(error.frobenius, error.largest) < 1e-12, call.kwargs


ROUTES = {
    "channels-last": (((2, 16, 6, 5), (24, 16, 3, 3)), {"channels_last": True}, ["lay", "product"]),
    "few channels": (((1, 3, 9, 9), (8, 3, 7, 7)), {"stride": 2, "padding": 3}, ["lay", "lay", "product"]),
    "regions": (((2, 32, 6, 5), (8, 32, 3, 3)), {"padding": 1}, ["lay", "direct"]),
    "regions, 1d": (((2, 32, 19), (8, 32, 3)), {"padding": 1}, ["lay", "direct"]),
    "kernel beyond a region": (((1, 32, 900), (8, 32, 2)), {"dilation": 850}, ["lay", "lay", "product"]),
    "depthwise": (((2, 16, 6, 5), (16, 1, 3, 3)), {"groups": 16}, ["depthwise_planes"]),
    "depthwise, channels-last": (
        ((2, 16, 6, 5), (16, 1, 3, 3)),
        {"groups": 16, "channels_last": True},
        ["lay", "depthwise_packs"],
    ),
    "depthwise, wide stride": (
        ((1, 2, 1, 27000), (2, 1, 1, 1)),
        {"groups": 2, "stride": (1, 3000)},
        ["lay", "lay", "product"],
    ),
}


@pytest.mark.parametrize("name", ROUTES)
def test_routes(name, kernels):
    shapes, options, expected = ROUTES[name]
    make = made(*shapes, **options)
    with nnzoo_fast.backend("cuemu"), torch.no_grad():
        make(Maker(torch.bfloat16)).run(conv)
    assert kernels == expected


def test_weights_with_adjacent_channels_are_read_in_place(kernels):
    memory = {"memory_format": torch.channels_last}
    input, weight = torch.randn(2, 8, 5, 5).to(**memory), torch.randn(4, 8, 3, 3).to(**memory)
    conv(input, weight, backend="cuemu")
    assert kernels == ["product"]


REGIONS = [
    made((2, 20, 37), (9, 20, 5), padding=2),
    made((1, 24, 150), (70, 24, 3), stride=2, dilation=3),
    made((2, 20, 9, 21), (5, 20, 3, 3), padding=1),
    made((1, 40, 11, 8), (6, 20, 3, 2), padding=1, stride=(2, 3), groups=2),
    made((2, 17, 4, 5, 6), (3, 17, 3, 2, 3), padding=1),
]


@pytest.mark.parametrize("make", REGIONS, ids=range(len(REGIONS)))
def test_regions(make, kernels, poisoned_memory):
    assert_as_promised(make, torch.float32)
    call = make(Maker(torch.float64, grad=False))
    input = call.args[0].requires_grad_()
    kernels.clear()
    with nnzoo_fast.backend("cuemu"):
        (found,) = torch.autograd.grad(call.run(conv).square().sum(), input)
    (expected,) = torch.autograd.grad(call.run(SPEC.stock).square().sum(), input)
    torch.testing.assert_close(found, expected)
    assert "direct" in kernels
    if call.args[1].shape[0] * input.element_size() >= 64 * call.kwargs.get("groups", 1):
        assert kernels.count("direct") == 2  # back through regions too: nothing else wants the gradient laid out


def test_tensor_cores_of_regions(poisoned_memory):
    assert_as_promised(made((1, 40, 6, 19), (10, 40, 3, 3), padding=1), torch.bfloat16)
    assert_as_promised(made((1, 40, 140), (10, 40, 3), padding=1), torch.float16)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("channels_last_input", [True, False])
def test_wide_tiles(dtype, channels_last_input, allow_tf32, poisoned_memory):
    """As many tiles as an H200 has multiprocessors."""
    if dtype == torch.bfloat16 and allow_tf32:
        return
    call = made((66, 32, 8, 8), (260, 32, 1, 1), channels_last=channels_last_input)(Maker(dtype, grad=False))
    found = call.run(lambda *args, **kwargs: conv(*args, **kwargs, backend="cuemu"))
    error = Error.of(found, call.run(SPEC.stock))
    assert error.frobenius < (1e-3 if allow_tf32 else 3e-3 if dtype == torch.bfloat16 else 1e-6)


def test_tf32_gradients(allow_tf32, poisoned_memory):
    make = made((2, 12, 9, 10), (20, 12, 3, 3), padding=1, stride=2)
    expected = sum(run_with_gradients(SPEC.stock, make(Maker(torch.float32))), [])
    with nnzoo_fast.backend("cuemu"):
        found = sum(run_with_gradients(conv, make(Maker(torch.float32))), [])
    errors = [Error.of(one, other).frobenius for one, other in zip(found, expected, strict=True)]
    low, high = (1e-5, 1e-3) if allow_tf32 else (-1, 1e-6)
    assert all(low < error < high for error in errors[:-1]) and errors[-1] < 1e-6  # a bias has no factors


DEPTHWISE = [
    made((2, 16, 5, 11), (16, 1, 3, 3), groups=16, padding=1, channels_last=True),
    made((1, 8, 7, 9), (8, 1, 5, 5), groups=8, padding=2, channels_last=True),
    made((1, 8, 9, 10), (8, 1, 7, 7), groups=8, padding=3, channels_last=True),
    made((1, 8, 9, 10), (8, 1, 3, 4), groups=8, padding=2, stride=2, dilation=(2, 1), channels_last=True),
    made((2, 6, 40), (6, 1, 4), groups=6, padding=3),
    made((1, 3, 5, 40, 9), (6, 1, 3, 3, 3), groups=3, padding=1, stride=(1, 2, 1)),
]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("index", range(len(DEPTHWISE)))
def test_depthwise(index, dtype, poisoned_memory):
    assert_as_promised(DEPTHWISE[index], dtype)


@pytest.mark.parametrize("groups, per_group", [(1, 9), (8, 1)])
def test_many_parts(groups, per_group, monkeypatch, poisoned_memory):
    """The gradient of the weight from several parts of the pixels, the last one shorter."""
    monkeypatch.setattr(channels_last, "SLICES", 1)
    shapes = (3, groups * per_group, 11, 13), (8, per_group, 3, 3)
    assert_as_promised(made(*shapes, groups=groups, padding=1), torch.float32)
    assert_as_promised(made(*shapes, groups=groups, padding=1), torch.bfloat16)


FAR = {  # how [2, 32, 40] lies in a sparse file, and the kernel that reads it
    "channels-last": ((2**31 + 64, 1, 32), "product"),
    "channels-first": ((2**31 + 64, 2**26 + 8, 1), "direct"),
}


@pytest.mark.parametrize("layout", FAR)
def test_more_elements_than_32_bits_count(layout, kernels, tmp_path):
    strides, kernel = FAR[layout]
    near = torch.randn(2, 32, 40).bfloat16()
    size = 1 + sum((count - 1) * stride for count, stride in zip(near.shape, strides, strict=True))
    file = torch.from_file(str(tmp_path / "image"), shared=True, size=size, dtype=torch.bfloat16)
    far = file.as_strided(near.shape, strides).copy_(near)
    weight = torch.randn(8, 32, 3).bfloat16()
    found = conv(far, weight, backend="cuemu")
    assert kernels == ["lay", kernel]
    torch.testing.assert_close(found, conv(near, weight, backend="reference"), rtol=2e-2, atol=2e-2)


def test_claims_of_the_tables():
    """What the README says of the kernels of the last rung."""
    bench = Path(__file__).resolve().parents[2] / "bench"
    claims = json.loads((bench / "cuda_instructions.json").read_text())["kernels"]
    resources = json.loads((bench / "cuda_resources.json").read_text())["kernels"]
    products = [
        kernel for kernel in claims if "ProductTile<" in kernel or "WeightTile<" in kernel or "DirectTile<" in kernel
    ]
    assert len(products) == 30
    for kernel in products:
        used = set(claims[kernel]["sm_90a"])
        assert "asynchronous copy" in used
        assert ("tensor cores" in used) == ("Tensor<" in kernel)
        by_ldmatrix = "Tensor<" in kernel and ("WeightTile<" not in kernel or "Tensor<float>" not in kernel)
        assert ("matrix load" in used) == by_ldmatrix
    for op, kernels in resources.items():
        for kernel in set(kernels) & set(products):
            blocks = 1 if "double" in kernel or "WeightTile" in kernel else 2
            assert kernels[kernel]["sm_90a"]["registers"] * blocks <= 256, op
    for kernel in claims:
        if kernel.startswith("depthwise_packs_kernel"):
            assert {"128-bit load", "128-bit store"} <= set(claims[kernel]["sm_90a"])


def test_limits():
    def verdict(module, shape, weight, groups=1):
        input = torch.empty(shape, device="meta")
        return module.supports(
            input, torch.empty(weight, device="meta"), None, [1] * 2, [0] * 4, [1] * 2, groups, "none"
        )

    many = (2**20, 1, 64, 64)
    assert verdict(cuda, many, (1, 1, 1, 1))[0]
    able, reason = verdict(cuda.RUNGS["tiled"], many, (1, 1, 1, 1))
    assert not able and "pixels" in reason
    able, reason = verdict(cuda, (1, 1, 2**16, 2**15), (1, 1, 1, 1))
    assert not able and "pixels" in reason
    able, reason = verdict(cuda.RUNGS["tiled"], (1, 2**17, 2, 2), (2**17, 1, 1, 1), 2**17)
    assert not able and "groups" in reason
    assert verdict(cuda, (1, 2**17, 2, 2), (2**17, 1, 1, 1), 2**17)[0]
