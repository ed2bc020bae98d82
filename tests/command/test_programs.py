"""Whole programs, with their own main function."""

import json

import pytest
import student
from strangers import line_of, write

FREE_TOO_EARLY = "cudaFree(d_A); vectorAdd<<<1, 1>>>(d_A, d_B, d_C, 1);"


@pytest.mark.parametrize(
    "old, new, kind, at",
    [
        ("", "", None, None),
        ("cudaMemcpy(d_B, h_B, size, cudaMemcpyHostToDevice);", "", "uninitialized", "C[i] = A[i] + B[i]"),
        ("&d_C, size", "&d_C, size - 4", "out_of_bounds", "C[i] = A[i] + B[i]"),
        ("threadsPerBlock = 256", "threadsPerBlock = 2048", "failed", "vectorAdd<<<"),
        ("cudaError_t", f"{FREE_TOO_EARLY}\n  cudaError_t", "out_of_bounds", "C[i] = A[i] + B[i]"),
    ],
)
def test_whole_programs(run, tmp_path, old, new, kind, at):
    text = (student.FOLDER / "vector_add.cu").read_text()
    assert old in text
    path = write(tmp_path, text.replace(old, new, 1))
    code, out, err = run("check", path, "--json")
    report = json.loads(out)
    assert (code, {finding["kind"] for finding in report["findings"]}) == ((1, {kind}) if kind else (0, set()))
    assert "CUDA kernel launch with" in err and err.count("\n") <= 2
    assert {finding["line"] for finding in report["findings"]} == ({line_of(path, at)} if at else set())
    if kind is None:
        assert {kernel["name"]: kernel["launches"] for kernel in report["kernels"]} == {"vectorAdd": 1}
        assert report["grid"] is None
