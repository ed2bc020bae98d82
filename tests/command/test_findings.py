"""Findings on the command line: crashes, traps, kernels that never end."""

import json
from pathlib import Path

import numpy as np
import pytest
from strangers import line_of, write


@pytest.mark.parametrize("index, where", [(5, 0), (6, 4), (100000, 399980), (-2048, None)])
def test_run_reports_accesses_out_of_bounds(crashes, run, index, where):
    words = f"run crashes.cu --kernel beyond --grid 1 --block 1 --args x.npy i32:{index}".split()
    code, out, _ = run(*words, "--json")
    (finding,) = json.loads(out)["findings"]
    assert code == 1 and finding["kind"] == "out_of_bounds" and "x.npy" in finding["message"]
    assert where is None or f"{where} bytes past the end of x.npy" in finding["message"]
    if abs(index) > 1000:
        assert (finding["file"], finding["line"]) == ("crashes.cu", 3)
    assert run(*words[:-1], "i32:4")[0] == 0


@pytest.mark.parametrize("mode", ["run", "check"])
def test_an_empty_array_may_be_passed_but_not_touched(mode, run, tmp_path, monkeypatch):
    """A kernel that is told of no elements is right to touch none."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "__global__ void copy(const float* x, float* y, int n) {\n  if (threadIdx.x < n) y[0] = x[0];\n}\n")
    np.save("none.npy", np.zeros((0, 3), np.float32))
    np.save("one.npy", np.ones(1, np.float32))

    def launch(x, y, n):
        words = f"{mode} kernel.cu --kernel copy --grid 1 --block 2 --save after --json --args {x}.npy {y}.npy i32:{n}"
        code, out, _ = run(*words.split())
        return code, [(finding["kind"], finding["line"]) for finding in json.loads(out)["findings"]]

    assert launch("none", "none", 0) == (0, [])
    assert np.load("after/none.npy").shape == (0, 3)
    for arrays in (("none", "one"), ("one", "none"), ("none", "none")):
        assert launch(*arrays, 1) == (1, [("out_of_bounds", 2)])


def test_forgotten_dynamic_shared_memory_is_named(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = "extern __shared__ int s[];\n  s[threadIdx.x] = x[threadIdx.x];\n"
    write(tmp_path, f"__global__ void keep(int* x) {{\n  {body}}}\n")
    np.save("x.npy", np.zeros(32, np.int32))
    words = "check kernel.cu --kernel keep --grid 1 --block 32 --json --smem".split()
    for bytes, expected in ((128, []), (0, ["0 bytes past the end of dynamic shared memory (0 bytes)"])):
        findings = json.loads(run(*words, bytes, "--args", "x.npy")[1])["findings"]
        assert [finding["message"].partition("4 bytes ")[2] for finding in findings] == expected


def test_a_program_is_called_main(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "__global__ void k() {}\nint main() { k<<<1, 1>>>(); return cudaDeviceSynchronize(); }\n")
    code, out, _ = run("check", "kernel.cu")
    assert code == 0 and "no finding; main of kernel.cu; orders" in out


def test_run_reports_a_null_pointer_with_its_line(crashes, run):
    code, out, _ = run(*"run crashes.cu --kernel null --grid 1 --block 2 --args x.npy".split())
    assert code == 1 and "crashes.cu:6: out_of_bounds" in out and "a null pointer" in out


@pytest.mark.parametrize("mode", ["run", "check"])
def test_trap_is_a_failure(crashes, run, mode):
    code, out, _ = run(*f"{mode} crashes.cu --kernel trap --grid 1 --block 1 --args i.npy --json".split())
    (finding,) = json.loads(out)["findings"]
    assert (code, finding["kind"], finding["file"], finding["line"]) == (1, "failed", "crashes.cu", 16)


def test_read_of_a_shared_array_that_nobody_writes(run, tmp_path):
    body = "__shared__ int s[32];\n  x[threadIdx.x] = s[threadIdx.x];"
    path = write(tmp_path, f"template <int n> __global__ void get(int* x) {{ {body} }}\n")
    np.save(tmp_path / "x.npy", np.zeros(32, np.int32))
    launch = ["--kernel", "get<3>", "--grid", 1, "--block", 32, "--args", tmp_path / "x.npy"]
    findings = json.loads(run("check", path, *launch, "--json")[1])["findings"]
    assert [(finding["kind"], finding["line"]) for finding in findings] == [("uninitialized", 2)]


@pytest.mark.parametrize("mode, timeout, message", [("run", 0.5, "not done after 0.5 s"), ("check", 9, "only spin")])
def test_a_kernel_that_never_ends_is_a_finding(crashes, run, monkeypatch, mode, timeout, message):
    monkeypatch.setenv("CUEMU_SPIN_SECONDS", "1")
    launch = f"--kernel spin --grid 1 --block 1 --timeout {timeout} --order forward --args i.npy"
    code, out, _ = run(mode, "crashes.cu", *launch.split(), "--json")
    (finding,) = json.loads(out)["findings"]
    assert (code, finding["kind"], finding["file"]) == (1, "deadlock", "crashes.cu")
    assert message in finding["message"] and finding["line"] == line_of(Path("crashes.cu"), "while (x[0]")


def test_json_is_alone_on_standard_output(crashes, run):
    words = "run crashes.cu --kernel talk --grid 1 --block 2 --args i.npy".split()
    code, out, err = run(*words, "--json")
    assert code == 0 and json.loads(out)["grid"] == [1, 1, 1] and err == "thread 0\nthread 1\n"
    code, out, err = run(*words, "--order", "reverse")
    assert code == 0 and out.startswith("thread 1\nthread 0\n")
