"""Triton kernels beyond the matrix (which runs them in the interpreter): they compile for GPUs, and compute bf16."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is an extra")
triton_common = pytest.importorskip("nnzoo_fast.triton_common")

HERE = Path(__file__).parent


def compile_for(*capabilities, cache):
    environment = {**os.environ, "TRITON_CACHE_DIR": str(cache)}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, str(HERE / "compile_triton.py"), *map(str, capabilities)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_every_kernel_compiles_for_hopper(tmp_path):
    done = compile_for(90, cache=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    compiled = [line.split() for line in done.stdout.splitlines()]
    with_kernels = {path.parent.name for path in HERE.parent.glob("nnzoo_fast/ops/*/triton_kernels.py")}
    assert {line[0] for line in compiled} == with_kernels and "linear" in with_kernels
    assert all(int(line[-1]) > 0 for line in compiled)


def test_a_target_that_does_not_exist_fails(tmp_path):
    """Negative control: the compilation above is a real one."""
    assert compile_for(7, cache=tmp_path).returncode != 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="the interpreter's bfloat16 is not in use on a GPU")
def test_the_interpreter_needs_our_dot_for_bfloat16():
    """`tl.dot` on bfloat16 is silently wrong in the interpreter; if this fails, the helper in `dot` can go."""
    import triton.language as tl

    @triton.jit
    def product(a, b, out):
        i = tl.arange(0, 16)
        place = i[:, None] * 16 + i[None, :]
        tl.store(out + place, tl.dot(tl.load(a + place), tl.load(b + place), out_dtype=tl.float32))

    a, b = torch.randn(2, 16, 16).bfloat16()
    out = torch.empty(16, 16)
    product[(1,)](a, b, out)
    assert not torch.allclose(out, a.float() @ b.float(), rtol=1e-2, atol=1e-2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CPU tensors are for the interpreter")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_tanh_keeps_its_digits_near_zero(dtype):
    import triton.language as tl

    @triton.jit
    def apply(x, out):
        i = tl.arange(0, 64)
        tl.store(out + i, triton_common.tanh(tl.load(x + i)))

    x = torch.logspace(-30, 1.2, 64, dtype=torch.float64).to(dtype)
    out = torch.empty_like(x)
    apply[(1,)](x, out)
    torch.testing.assert_close(out.double(), x.double().tanh(), rtol=8 * torch.finfo(dtype).eps, atol=0)
