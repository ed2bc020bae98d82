"""The emulator's mechanisms, each against a known answer and, where one exists, against a wrong twin that must show."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
ORDERS = ("forward", "reverse", "random:1", "random:2")
FLAGS = (
    "-std=c++17 -O2 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -Wno-unknown-pragmas -DNNZOO_CUEMU -pthread".split()
)
CXX = next(filter(shutil.which, ("g++", "c++", "clang++")), None)
pytestmark = pytest.mark.skipif(
    CXX is None or not sys.platform.startswith("linux"), reason="needs a C++ compiler on Linux"
)


def compile_library(directory, *extra):
    sources = [*(ROOT / "csrc/cuemu").glob("*.cpp"), *(ROOT / "tests/cuemu").glob("*.cu")]
    objects = [directory / f"{source.stem}.o" for source in sources]
    compiler = ["ccache", CXX] if shutil.which("ccache") else [CXX]
    include = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests/cuemu'}"]
    for source, target in zip(sources, objects, strict=True):
        language = ["-x", "c++"] if source.suffix == ".cu" else []
        command = [*compiler, *FLAGS, *extra, *include, *language, "-c", str(source), "-o", str(target)]
        subprocess.run(command, check=True, cwd=ROOT)
    path = directory / "libkernels.so"
    subprocess.run([CXX, "-shared", "-pthread", *map(str, objects), "-o", str(path)], check=True)
    return Library(path)


class Library:
    """Calls the exported functions with numpy arrays and numbers; an error text becomes a RuntimeError."""

    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))

    def __getattr__(self, name):
        function = getattr(self.library, name)
        function.restype = ctypes.c_char_p

        def call(*args):
            error = function(*(ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in args))
            if error is not None:
                raise RuntimeError(error.decode())

        return call


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return compile_library(tmp_path_factory.mktemp("cuemu"))


@pytest.fixture(params=ORDERS)
def order(request, monkeypatch):
    monkeypatch.setenv("CUEMU_ORDER", request.param)
    return request.param


def run_order(kernels):
    visits, order = np.zeros(720, np.int32), np.full(720, -1, np.int32)
    kernels.run_count_threads(visits, order, np.zeros(1, np.int32))
    assert (visits == 1).all()
    return order


def test_every_thread_runs_once(kernels, order):
    assert sorted(run_order(kernels)) == list(range(720))


def test_schedules_differ_and_repeat(kernels, monkeypatch):
    monkeypatch.setenv("CUEMU_THREADS", "1")
    seen = {}
    for order in ORDERS:
        monkeypatch.setenv("CUEMU_ORDER", order)
        seen[order] = run_order(kernels)
        assert (seen[order] == run_order(kernels)).all()
    assert (seen["forward"] == np.arange(720)).all()
    assert (seen["reverse"] == np.arange(720)[::-1]).all()
    assert (seen["random:1"] != seen["random:2"]).any()


@pytest.mark.parametrize(
    "variable, value", [("CUEMU_ORDER", "sideways"), ("CUEMU_ORDER", "random:x"), ("CUEMU_THREADS", "")]
)
def test_wrong_environment_is_refused(kernels, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value or "two")
    with pytest.raises(RuntimeError, match=variable):
        kernels.run_nothing(1, 32, 0)


@pytest.mark.parametrize(
    "grid, block, shared, why",
    [(1, 1025, 0, "block"), (0, 32, 0, "grid"), (1, 0, 0, "block"), (1, 32, 1 << 18, "227 KB")],
)
def test_launches_that_a_gpu_refuses(kernels, grid, block, shared, why):
    with pytest.raises(RuntimeError, match=f"do_nothing.*{why}"):
        kernels.run_nothing(grid, block, ctypes.c_size_t(shared))


def test_barrier(kernels, order):
    values, out = np.arange(64, dtype=np.int32), np.zeros(64, np.int32)
    kernels.run_reverse(values, out, 1)
    assert (out == values[::-1]).all()


def test_missing_barrier_shows(kernels, order):
    # Twice, with other values: what an earlier block left in shared memory must not hide it.
    for start in (100, 200):
        values, out = np.arange(start, start + 64, dtype=np.int32), np.zeros(64, np.int32)
        kernels.run_reverse(values, out, 0)
        assert (out != values[::-1]).any()


def test_dynamic_shared_memory_starts_as_nan(kernels):
    out = np.zeros(64, np.float32)
    kernels.run_copy_shared_as_found(out)
    assert np.isnan(out).all()


def shuffled(values, operand, width):
    lanes = np.arange(32)
    section = lanes // width * width
    index = section + operand % width
    up = np.where(lanes - operand >= section, lanes - operand, lanes)
    down = np.where(lanes + operand < section + width, lanes + operand, lanes)
    xor = np.where(lanes ^ operand < section + width, lanes ^ operand, lanes)
    return np.stack([values[index], values[up % 32], values[down % 32], values[xor % 32]])


@pytest.mark.parametrize("width", [32, 16, 8, 4, 2, 1])
@pytest.mark.parametrize("operand", [0, 1, 5, 16, 31])
def test_shuffles(kernels, order, operand, width):
    values, out = np.random.default_rng(0).integers(0, 1000, 32).astype(np.int32), np.zeros((4, 32), np.int32)
    kernels.run_shuffle(values, out, operand, width)
    assert (out == shuffled(values, operand, width)).all()


def test_shuffle_refuses_a_width_that_is_no_power_of_two(kernels):
    with pytest.raises(RuntimeError, match="width"):
        kernels.run_shuffle(np.zeros(32, np.int32), np.zeros(128, np.int32), 1, 12)


def test_shuffles_of_two_half_warps(kernels, order):
    out, lanes = np.zeros(32), np.arange(32)
    kernels.run_shuffle_in_halves(out)
    assert (out == np.where(lanes < 16, (lanes ^ 1) + 0.5, (lanes ^ 2) - 0.5)).all()


def test_votes_match_and_reduce(kernels, order):
    values = np.random.default_rng(1).integers(0, 8, 32).astype(np.int32)
    out = np.zeros((8, 32), np.uint32)
    kernels.run_vote(values, out)
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    assert (out[0] == bits[values > 3].sum()).all()
    assert (out[1] == 0).all() and (out[2] == 1).all()
    assert (out[3] == [bits[values == v].sum() for v in values]).all()
    assert (out[4] == values.sum()).all() and (out[5] == values.max()).all()
    assert (out[6] == (values > 3).sum()).all() and (out[7] == 1).all()


def test_syncwarp(kernels, order):
    out = np.zeros(32, np.int32)
    kernels.run_exchange_in_warp(out, 1)
    assert (out == np.arange(32) ^ 16).all()


def test_block_reduce(kernels, order):
    for threads in (32, 96, 1024):
        values, out = (
            np.random.default_rng(2).normal(size=threads).astype(np.float32),
            np.zeros((2, threads), np.float32),
        )
        kernels.run_reduce_block(values, out, threads)
        assert np.allclose(out[0], values.astype(np.float64).sum(), atol=1e-4)
        assert (out[1] == values.max()).all()


WRONG = {
    "a shuffle from a lane outside its mask": (0, r"does not name.*mechanisms\.cu:\d+"),
    "a shuffle by a lane that its mask does not name": (1, r"__shfl_xor_sync.*mask does not name"),
    "a shuffle that half of its lanes never reach": (
        2,
        r"(?s)deadlock.*threads 0, 2, 4.* wait at __syncthreads \(mechanisms\.cu:\d+\)"
        r".*1, 3.*__shfl_xor_sync with mask 0xffffffff",
    ),
    "threads of a block at two barriers": (3, r"(?s)divergent barrier.*threads 0-47 .*threads 48-63 "),
    "a barrier against a warp barrier": (
        4,
        r"(?s)deadlock.*threads 0-7 wait at __syncthreads.*threads 8-31 wait at __syncwarp",
    ),
    "a trap": (5, r"trap_at, block \([01], 0, 0\), thread \(37, 0, 0\): __trap"),
    "mma.sync of half a warp": (6, r"(?s)deadlock.*threads 0-15 wait at mma\.sync"),
    "ldmatrix from a misaligned row": (7, "aligned"),
    "cp.async never waited for": (8, "not waited for"),
    "cp.async to a misaligned address": (9, "aligned"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_kernels_are_reported(kernels, order, what):
    which, message = WRONG[what]
    with pytest.raises(RuntimeError, match=message):
        kernels.run_wrong(which, np.zeros(256, np.int32))
    test_every_thread_runs_once(kernels, order)  # a failed launch leaves nothing behind


def test_threads_that_returned_are_not_waited_for(kernels, order):
    out = np.zeros(64, np.int32)
    kernels.run_barrier_after_return(out)
    assert (out == (np.arange(64) < 48)).all()


@pytest.mark.parametrize(
    "name, dtype, count",
    [
        ("int", np.int32, 2048),
        ("long", np.uint64, 2048),
        ("float", np.float32, 2048),
        ("double", np.float64, 2048),
        ("half", np.float16, 2048),
    ],
)
def test_atomic_add(kernels, order, name, dtype, count):
    values, total = (np.arange(count) % 2).astype(dtype), np.zeros(1, dtype)
    getattr(kernels, f"run_add_{name}")(values, total)
    assert total[0] == count // 2


def test_atomic_add_of_bfloat16(kernels, order):
    values, total = torch.ones(64, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.bfloat16)
    kernels.run_add_bfloat16(values.view(torch.int16).numpy(), total.view(torch.int16).numpy())
    assert total.item() == 64


def test_adding_without_atomics_loses_updates(kernels, order):
    total = np.zeros(1, np.float32)
    kernels.run_add_without_atomic(np.ones(32, np.float32), total)
    assert total[0] == 1


def test_other_atomics(kernels, order):
    values = np.random.default_rng(3).integers(1, 1 << 20, 512).astype(np.int32)
    out = np.zeros(9, np.int32)
    out[1:3] = (1 << 30, -1)
    kernels.run_other_atomics(values, out)
    expected = [values.max(), values.min(), np.bitwise_and.reduce(values), np.bitwise_or.reduce(values)]
    assert list(out[:5]) == [*expected, np.bitwise_xor.reduce(values)]
    assert out[5] + out[6] == values.sum() and out[7] == values.max() and out[8] == 512 % 10


def test_conversions(kernels):
    rng = np.random.default_rng(4)
    edges = [
        0.0,
        -0.0,
        65504,
        65519.9,
        65520,
        1e6,
        np.inf,
        -np.inf,
        np.nan,
        6e-8,
        2.98e-8,
        2.99e-8,
        6.1e-5,
        6.0e-5,
        2049,
        2051,
    ]
    values = np.concatenate(
        [rng.normal(size=4096), rng.normal(size=4096) * 1e-6, np.exp(rng.normal(size=4096) * 9), edges]
    )
    values = values.astype(np.float32)
    halves, bfloats = np.zeros(len(values), np.uint16), np.zeros(len(values), np.uint16)
    kernels.run_convert(values, halves, bfloats, len(values))
    with np.errstate(over="ignore"):
        assert np.array_equal(halves.view(np.float16), values.astype(np.float16), equal_nan=True)
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    assert np.array_equal((bfloats.astype(np.uint32) << 16).view(np.float32), expected, equal_nan=True)
    out = np.zeros((2, 65536), np.float32)
    kernels.run_widen(out)
    bits = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(out[0], bits.view(np.float16).astype(np.float32), equal_nan=True)
    assert np.array_equal(out[1], (bits.astype(np.uint32) << 16).view(np.float32), equal_nan=True)


@pytest.mark.parametrize("from_shared", [0, 1], ids=["gathered", "ldmatrix"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mma(kernels, order, dtype, from_shared):
    torch.manual_seed(0)
    a, b, c, d = torch.randn(16, 16).to(dtype), torch.randn(16, 8).to(dtype), torch.randn(16, 8), torch.zeros(16, 8)
    bits = [t.view(torch.int16).numpy() for t in (a, b)]
    kernels.run_mma(*bits, c.numpy(), d.numpy(), int(dtype == torch.float16), from_shared)
    assert torch.allclose(d.double(), a.double() @ b.double() + c.double(), atol=1e-5)
    assert not torch.allclose(d.double(), b.double().repeat(1, 2) @ a.double()[:, :8] + c.double(), atol=1e-1)


def test_mma_tf32_rounds_its_operands(kernels, order):
    torch.manual_seed(0)
    a, b, c, d = torch.randn(16, 8), torch.randn(8, 8), torch.randn(16, 8), torch.zeros(16, 8)
    kernels.run_mma_tf32(a.numpy(), b.numpy(), c.numpy(), d.numpy())

    def tf32(x):
        return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32).double()

    assert torch.allclose(d.double(), tf32(a) @ tf32(b) + c.double(), atol=1e-5)
    assert not torch.allclose(d.double(), a.double() @ b.double() + c.double(), atol=1e-5)


def test_async_copy(kernels, order):
    values, out = np.arange(256, dtype=np.float32), np.zeros(256, np.float32)
    kernels.run_copy_async(values, out, 0)
    expected = values.copy().reshape(64, 4)
    expected[32:, 2:] = 0
    assert (out == expected.ravel()).all()


def test_missing_and_weak_waits_show(kernels, order):
    values, out = np.arange(256, dtype=np.float32), np.zeros(256, np.float32)
    kernels.run_copy_async(values, out, 1)
    assert np.isnan(out).all()
    kernels.run_copy_async(values, out, 2)
    assert (out[:128] == values[:128]).all() and np.isnan(out[128:]).all()


@pytest.mark.parametrize("which", ["tiled", "in_registers"])
def test_matmul(kernels, order, which):
    a, b, c = torch.randn(64, 64), torch.randn(64, 64), torch.zeros(64, 64)
    getattr(kernels, f"matmul_{which}")(a.numpy(), b.numpy(), c.numpy(), 64)
    assert torch.allclose(c, a @ b, atol=1e-4)


def test_matmul_on_tensor_cores(kernels, order):
    a, b, c = torch.randn(128, 128).bfloat16(), torch.randn(128, 128).bfloat16(), torch.zeros(128, 128)
    bits = [t.contiguous().view(torch.int16).numpy() for t in (a, b.t())]
    kernels.matmul_on_tensor_cores(*bits, c.numpy(), 128, 1)
    assert torch.allclose(c, a.float() @ b.float(), atol=1e-3)
    kernels.matmul_on_tensor_cores(*bits, c.numpy(), 128, 0)
    assert not torch.allclose(c, a.float() @ b.float(), atol=1e-3)


ABSENT = {
    "active lanes": "unsigned f() { return __activemask(); }",
    "a grid-wide barrier": "#include <cooperative_groups.h>",
    "inline PTX": 'void f() { unsigned a, b = 1; asm("mov.b32 %0, %1;" : "=r"(a) : "r"(b)); }',
    "an unsized shared array": "void f() { extern __shared__ float buffer[]; buffer[0] = 1; }",
    "a shuffle of a struct": "struct Pair { double a, b; }; Pair f(Pair p) { return __shfl_sync(~0u, p, 0); }",
}


@pytest.mark.parametrize("what", ["nothing", *ABSENT])
def test_what_is_not_there_does_not_compile(tmp_path, what):
    source = tmp_path / "kernel.cu"
    source.write_text(
        '#include "cuemu/cuda.h"\n' + ABSENT.get(what, "float f(float v) { return __shfl_sync(~0u, v, 0); }") + "\n"
    )
    command = [CXX, *FLAGS, f"-I{ROOT / 'csrc'}", "-x", "c++", "-c", str(source), "-o", str(tmp_path / "kernel.o")]
    assert (subprocess.run(command, capture_output=True).returncode == 0) == (what == "nothing")


def test_portable_fibers(tmp_path, monkeypatch):
    """Processors other than x86-64 switch stacks through ucontext."""
    monkeypatch.setenv("CUEMU_ORDER", "reverse")
    kernels = compile_library(tmp_path, "-DCUEMU_UCONTEXT")
    test_matmul_on_tensor_cores(kernels, "reverse")
    with pytest.raises(RuntimeError, match="deadlock"):
        kernels.run_wrong(2, np.zeros(256, np.int32))


def test_a_forked_child_can_launch(kernels):
    run_order(kernels)
    child = os.fork()
    if child == 0:
        try:
            run_order(kernels)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
