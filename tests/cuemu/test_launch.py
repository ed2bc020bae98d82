"""Launches: every thread once, schedules, refused sizes, what is not there, portable fibers."""

import ctypes
import os

import numpy as np
import pytest
from emulated import ORDERS, compile_library, compiles


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


def test_dynamic_shared_memory_starts_as_nan(kernels):
    out = np.zeros(64, np.float32)
    kernels.run_copy_shared_as_found(out)
    assert np.isnan(out).all()


ABSENT = {
    "a texture": "float f(cudaTextureObject_t t) { return tex1Dfetch<float>(t, 0); }",
    "inline PTX": 'void f() { unsigned a, b = 1; asm("mov.b32 %0, %1;" : "=r"(a) : "r"(b)); }',
    "an unsized shared array": "void f() { extern __shared__ float buffer[]; buffer[0] = 1; }",
    "a shuffle of a struct": "struct Pair { double a, b; }; Pair f(Pair p) { return __shfl_sync(~0u, p, 0); }",
}


@pytest.mark.parametrize("what", ["nothing", *ABSENT])
def test_what_is_not_there_does_not_compile(tmp_path, what):
    text = ABSENT.get(what, "float f(float v) { return __shfl_sync(~0u, v, 0); }")
    assert compiles(tmp_path, text) == (what == "nothing")


def test_portable_fibers(tmp_path, monkeypatch):
    """Processors other than x86-64 switch stacks through ucontext."""
    monkeypatch.setenv("CUEMU_ORDER", "reverse")
    kernels = compile_library(tmp_path, kernels="[lw]*", extra=["-DCUEMU_UCONTEXT"])  # launch.cu, wrong.cu
    run_order(kernels)
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
