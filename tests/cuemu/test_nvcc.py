"""The files that the emulator runs are CUDA C++: nvcc takes them too, PTX and all."""

import shutil
import subprocess

import pytest
from emulated import ROOT

SOURCES = sorted((ROOT / "tests/cuemu").glob("*.cu"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_nvcc_compiles(tmp_path, source):
    include = [f"-I{ROOT / folder}" for folder in ("csrc", "tests/cuemu")]
    target = ["-gencode", "arch=compute_90a,code=sm_90a"]
    command = ["nvcc", "-std=c++17", *target, *include, "-c", str(source), "-o", str(tmp_path / "kernels.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
