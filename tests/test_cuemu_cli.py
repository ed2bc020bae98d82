"""`nnzoo-fast cuemu` and `nnzoo_fast.cuemu` on files that have never heard of this project."""

import json
import os
import shutil
import stat
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import student

from nnzoo_fast import cli, cuemu
from nnzoo_fast.cuemu import arguments, cache, compiler
from nnzoo_fast.cuemu.errors import CompileError, UsageError

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None or not sys.platform.startswith("linux"), reason="needs g++ on Linux"
)

HERE = Path(__file__).resolve().parent
KINDS = {"race", "out_of_bounds", "uninitialized", "misaligned", "deadlock", "missing_wait", "exited_lane"}


@pytest.fixture(autouse=True)
def _one_cache(tmp_path_factory, monkeypatch):
    """The emulator is compiled once for all workers of a test run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp().parent / "cuemu-cache"))
    monkeypatch.delenv("CXX", raising=False)


@pytest.fixture
def run(capfd):
    """Runs `nnzoo-fast cuemu`; returns exit code, standard output and standard error."""

    def run(*words):
        with pytest.raises(SystemExit) as leaving:
            cli.main(["cuemu", *map(str, words)])
        captured = capfd.readouterr()
        return leaving.value.code or 0, captured.out, captured.err

    return run


def write(folder, text, name="kernel.cu"):
    path = folder / name
    path.write_text(text)
    return path


def line_of(path, text):
    (number,) = (number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)
    return number


def launch_words(program, path, folder):
    """The words after `check` or `run`, with the arrays in files of `folder`; and what the arrays must become."""
    words, expected = program.make(np.random.default_rng(0))
    written = []
    for word in words:
        if not isinstance(word, str):
            np.save(folder / f"{word[0]}.npy", word[1])
            word = folder / f"{word[0]}.npy"
        written.append(word)
    launch = [path, "--kernel", program.kernel, "--grid", program.grid, "--block", program.block]
    return [*launch, "--smem", program.smem, "--args", *written], expected


@pytest.mark.parametrize("mode", ["run", "check"])
@pytest.mark.parametrize("program", student.PROGRAMS, ids=lambda program: program.file)
def test_student(program, mode, run, tmp_path):
    words, expected = launch_words(program, student.FOLDER / program.file, tmp_path)
    code, out, err = run(mode, *words, "--save", tmp_path / "after", "--json")
    report = json.loads(out)
    assert (code, err, report["findings"]) == (0, "", [])
    for name, array in expected.items():
        after = np.load(tmp_path / "after" / f"{name}.npy")
        np.testing.assert_allclose(after, array, rtol=1e-5 if after.dtype == np.float32 else 1e-14, atol=1e-5)
    assert bool(report["lines"]) == bool(report["kernels"]) == (mode == "check")
    for line in report["lines"]:
        assert line["access"] in ("load", "store") and line["space"] in ("global", "shared") and line["requests"] > 0
        assert (line["sectors_per_request"] is None) == (line["space"] == "shared") == (line["bank_ways"] is not None)


@pytest.mark.parametrize("mistake", student.MISTAKES, ids=lambda mistake: f"{mistake.file}-{mistake.kind}")
def test_students_mistake_is_found_on_its_line(mistake, run, tmp_path):
    shutil.copytree(student.FOLDER, tmp_path / "student")
    path = tmp_path / "student" / mistake.file
    text = path.read_text()
    assert text.count(mistake.old) == 1
    path.write_text(text.replace(mistake.old, mistake.new))
    program = next(program for program in student.PROGRAMS if program.file == mistake.file)
    words, _ = launch_words(program, path, tmp_path)
    code, out, _ = run("check", *words, "--json")
    findings = json.loads(out)["findings"]
    assert code == 1 and {finding["kind"] for finding in findings} <= KINDS
    wanted = (str(path), line_of(path, mistake.at))
    places = [
        (site["file"], site["line"])
        for finding in findings
        if finding["kind"] == mistake.kind
        for site in (finding, finding["other"] or finding)
    ]
    assert wanted in places


def test_transposes_count_bank_conflicts(run, tmp_path):
    program = next(program for program in student.PROGRAMS if program.file == "transpose.cu")
    ways = {}
    for pad in (" + 1", ""):
        path = write(tmp_path, (student.FOLDER / program.file).read_text().replace("TILE_DIM + 1", f"TILE_DIM{pad}"))
        words, _ = launch_words(program, path, tmp_path)
        code, out, _ = run("check", *words, "--json")
        (load,) = (line for line in json.loads(out)["lines"] if (line["access"], line["space"]) == ("load", "shared"))
        ways[pad] = load["bank_ways"]
    assert ways[" + 1"] == 1 and ways[""] > 10


SYNTAX = r"""
#include "kernels/scale.cuh"
#include <cooperative_groups.h>
#include <cuda_fp16.h>
#include <iostream>
#include <vector>

// A comment with <<<1, 2>>> and extern __shared__ float commented[];
static const char* text = "kernel<<<1, 2>>>(x); extern __shared__ int quoted[];";
const char* raw = R"(raw "<<<3>>>" __global__ void no(int) {})";
#define LAUNCH(kernel, ...) kernel<<<dim3(1, 1), 32>>>(__VA_ARGS__)
#define BLOCK 32

extern __shared__ __align__(16) unsigned char bytes[];

namespace deep { namespace {
template <typename T, int N = 4, bool reverse = (N > 2)>
__global__ static void __launch_bounds__(BLOCK, 2) order(const T* in,
                                                         T* out) {
  extern __shared__ T words[];
  __shared__ volatile T table[2][N][BLOCK];
  int i = threadIdx.x;
  table[1][N - 1][i] = in[i];
  words[i] = reverse ? in[BLOCK - 1 - i] : table[1][N - 1][i];
  __syncthreads();
  out[i] = words[i];
}
}  // namespace
__device__ __noinline__ float twice(int i) { return 2 * reinterpret_cast<float*>(bytes)[i]; }
}

__global__ void through_file_scope(float* x) {
  float bytes_of_mine = x[threadIdx.x];
  reinterpret_cast<float*>(&bytes)[threadIdx.x] = bytes_of_mine;
  x[threadIdx.x] = deep::twice(threadIdx.x);
  { int bytes = 3; (void)bytes; }
}

extern "C" __global__ void grid3(int* out) {
  int place = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  out[place] = 1'00 * blockIdx.z + 10 * blockIdx.y + blockIdx.x;
}

__global__ void halves(const __half* x, half2* y, bool flag, char c, long long n, unsigned short s, void* any,
                       float4* v) {
  if (flag && c == 'c' && n == -(1LL << 40) && s == 65535) y[0] = __halves2half2(x[0], x[1]);
  v[0].w = static_cast<float*>(any)[0];
}

template <class T> struct Host {
  T* data;
  void go(int n) {
    auto kernel = &through_file_scope;
    kernel<<<1, n, n * sizeof(T)>>>(data);
    deep::order<T, (1 << 3)><<<dim3(1), {32u, 1u}, 32 * sizeof(T), 0>>>(data, data + 32);
    scale::by<<<(n + 31) / 32, 32>>>(data,  // a deduced template argument
                                     T(2), (const T*)NULL);
    scale::by<T><<<1, 32>>>(data, 1, NULL);
    LAUNCH(through_file_scope, data);
  }
};
"""
SCALE = """#pragma once
namespace scale {
template <typename T>
__global__ void by(T* x, T factor, const T* none) { if (!none) x[threadIdx.x] *= factor; }
}
"""


@pytest.fixture
def syntax(tmp_path):
    (tmp_path / "kernels").mkdir()
    write(tmp_path / "kernels", SCALE, "scale.cuh")
    return write(tmp_path, SYNTAX.replace("#include <cooperative_groups.h>\n", ""))


def test_cuda_syntax_works_as_it_stands(syntax):
    x = np.arange(32, dtype=np.float32)
    out = np.zeros_like(x)
    for name in ("order<float>", "deep::order<float, 8>", "::deep::order<float,4,true>"):
        out[:] = 0
        cuemu.compile(syntax, name)(x, out, grid=1, block=32, shared=128)
        assert (out == x[::-1]).all()
    cuemu.compile(syntax, "order< float , 1 >")(x, out, grid=1, block=32, shared=128)
    assert (out == x).all()
    cuemu.compile(syntax, "through_file_scope")(x, grid=1, block=32, shared=128)
    assert (x == 2 * np.arange(32)).all()
    cuemu.compile(syntax, "by<float>")(x, 0.5, np.zeros(0, np.float32), grid=1, block=32)


def test_launches_in_host_code(syntax, tmp_path, run):
    host = """
int main(int count, char** words) {
  std::vector<float> x(64);
  for (int i = 0; i < 32; ++i) x[i] = i;
  Host<float>{x.data()}.go(32);
  for (int i = 0; i < 32; ++i)
    if (x[i] != 8 * i || x[32 + i] != 2 * (31 - i)) return 1;
  std::cout << words[count - 1] << std::endl;
}
"""
    path = write(tmp_path, syntax.read_text() + host)
    code, out, _ = run("run", path, "--args", "one", "two")
    assert code == 0 and out.startswith("two\n")
    code, out, err = run("run", path, "--args", "one", "two", "--json")
    assert code == 0 and json.loads(out)["findings"] == [] and err == "two\n"


def test_grids_of_three_dimensions(syntax):
    out = np.zeros((3, 4, 5), np.int32)
    cuemu.compile(syntax, "grid3")(out, grid=(5, 4, 3), block=1)
    assert (out == np.fromfunction(lambda z, y, x: 100 * z + 10 * y + x, (3, 4, 5))).all()


def test_arguments_of_every_kind(syntax, run, tmp_path):
    arrays = {
        "x": np.array([1.5, -2], np.float16),
        "y": np.zeros((1, 2), np.float16),
        "any": np.array([7], ">f4"),  # big-endian
        "v": np.asfortranarray(np.zeros((2, 4), np.float32)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    x, y, any_, v = (tmp_path / f"{name}.npy" for name in arrays)
    numbers = ["u8:1", "i32:0x63", f"i64:{-(1 << 40)}", "u32:65535"]
    words = ["--kernel", "halves", "--grid", 1, "--block", 1, "--args", x, y, *numbers, any_, v]
    assert run("run", syntax, *words, "--save", tmp_path / "to")[0] == 0
    assert (np.load(tmp_path / "to/y.npy") == arrays["x"]).all()
    assert (np.load(tmp_path / "to/v.npy") == [[0, 0, 0, 7], [0, 0, 0, 0]]).all()
    assert (np.load(tmp_path / "v.npy") == 0).all()  # the kernel had a copy


ADD = """#include <cuda_runtime.h>
__global__ void add(const float* a, float* b, int n, float f, double d) {
  int i = threadIdx.x;
  if (i < n) b[i] += a[i] * f * d;
}
template <int N> __global__ void fill(int* x) { x[threadIdx.x] = N; }
namespace one { __global__ void same(int* x) {} }
namespace two { __global__ void same(int* x) {} }
__global__ void take(float** rows, dim3 size) {}
"""


@pytest.fixture
def add(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("f.npy", np.ones(8, np.float32))
    np.save("d.npy", np.ones(8))
    np.save("o.npy", np.array([{}]), allow_pickle=True)
    np.savez("z.npz", a=np.ones(3))
    Path("z.npz").rename("z.npy")
    Path("bad.npy").write_text("no array")
    Path("data.txt").write_text("1 2 3")
    write(tmp_path, "int x;\n", "empty.cu")
    write(tmp_path, "#include <no_such_header.h>\n", "header.cu")
    return write(tmp_path, ADD, "add.cu")


LAUNCH = "add.cu --kernel add --grid 1 --block 8 --args "


@pytest.mark.parametrize(
    "words, message",
    [
        ("none.cu --kernel k --grid 1 --block 1", "there is no file none.cu"),
        (". --kernel k --grid 1 --block 1", ". is not a file"),
        ("add.cu --kernel sub --grid 1 --block 1", "add.cu has no kernel 'sub'; it has add, fill<...>, one::same, two"),
        ("empty.cu --kernel k --grid 1 --block 1", "empty.cu has no kernel 'k'; it has none (no __global__ function)"),
        ("add.cu --kernel 3+4 --grid 1 --block 1", "--kernel '3+4' is no kernel's name"),
        ("add.cu --kernel same --grid 1 --block 1", "--kernel 'same' could be one::same or two::same"),
        ("add.cu --kernel add<3> --grid 1 --block 1", "--kernel 'add<3>': add is no template"),
        ("add.cu --kernel fill --grid 1 --block 1", "--kernel 'fill' can't be instantiated; templates are named as"),
        ("add.cu --kernel fill<T> --grid 1 --block 1", "'fill<T>' can't be instantiated: ‘T’ was not declared"),
        ("add.cu", "add.cu has no main function: name a kernel, it has add, fill<...>"),
        ("add.cu --grid 1", "--grid, --block and --smem are for a kernel: name it with --kernel"),
        ("add.cu --kernel add --grid 1", "a kernel needs --grid and --block"),
        ("add.cu --kernel add --grid 1 --block 1025", "--block 1025,1,1: sizes are at least 1 and at most 1024"),
        ("add.cu --kernel add --grid 1 --block 32,33", "--block 32,33,1 has 1056 threads; a block has at most 1024"),
        ("add.cu --kernel add --grid -1 --block 1", "--grid -1,1,1: sizes are at least 1"),
        ("add.cu --kernel add --grid 1,2,3,4 --block 1", "--grid 1,2,3,4: expected one to three sizes, got 4"),
        ("add.cu --kernel add --grid 1x2 --block 1", "--grid '1x2': expected one to three sizes, such as 4 or 4,2,1"),
        ("add.cu --kernel add --grid 1 --block 1 --smem 300000", "--smem 300000: a block has 0 to 232448 bytes"),
        ("add.cu --kernel add --grid 1 --block 1 --order up", "--order 'up': expected forward, reverse or random:SEED"),
        ("add.cu --kernel add --grid 1 --block 1 --timeout 0", "--timeout 0: expected a number of seconds above 0"),
        ("add.cu --kernel add --grid 1 --block 1 --timeout nan", "--timeout nan: expected a number of seconds above 0"),
        ("add.cu --kernel add --grid 1 --block 1 --html no/x.html", "--html: there is no folder no"),
        (LAUNCH + "f.npy f.npy i32:8 f32:1 f64:1 --save /dev/null/x", "/dev/null/x: Not a directory"),
        (LAUNCH + "f.npy f.npy i32:8", "add(const float* a, float* b, int n, float f, double d) takes 5 arguments"),
        (LAUNCH + "d.npy f.npy i32:8 f32:1 f64:1", "argument 1 (d.npy): the parameter is const float*, which takes"),
        (LAUNCH + "d.npy f.npy i32:8 f32:1 f64:1", "takes an array of float32, and this is float64"),
        (LAUNCH + "i32:1 f.npy i32:8 f32:1 f64:1", "argument 1 (i32:1): the parameter is const float*, which takes an"),
        (LAUNCH + "f.npy f.npy f.npy f32:1 f64:1", "(f.npy): the parameter is int, which takes a number, as i32:VALUE"),
        (LAUNCH + "f.npy f.npy u32:4000000000 f32:1 f64:1", "(u32:4000000000): the number is out of the range of int"),
        (LAUNCH + "f.npy f.npy i32:8 f64:1 f64:1", "the parameter is float, which takes a number, as f32:VALUE"),
        (LAUNCH + "f.npy f.npy i32:8 f32:1 i32:1", "the parameter is double, which takes a number, as f64:VALUE"),
        (LAUNCH + "none.npy", "there is no file none.npy"),
        (LAUNCH + "bad.npy", "bad.npy is not an array that numpy can load"),
        (LAUNCH + "o.npy", "o.npy is not an array that numpy can load"),
        (LAUNCH + "z.npy", "z.npy holds several arrays, and an argument is one"),
        (LAUNCH + "i32:3000000000", "argument 'i32:3000000000' is out of range: from -2147483648 to 2147483647"),
        (LAUNCH + "i32:x", "argument 'i32:x': 'x' is not an integer"),
        (LAUNCH + "f16:1e9", "argument 'f16:1e9' is out of range"),
        (LAUNCH + "i16:1", "is neither path.npy nor KIND:VALUE with KIND one of u8, i32, u32, i64, f16, f32, f64"),
        (LAUNCH + "data.txt", "argument 'data.txt' is neither path.npy nor KIND:VALUE"),
        ("add.cu --kernel take --grid 1 --block 1 --args f.npy i32:1", "(f.npy): the parameter is float**"),
    ],
)
@pytest.mark.parametrize("mode", ["run", "check"])
def test_wrong_usage_is_one_line(add, run, mode, words, message):
    code, out, err = run(mode, *words.split(), "--json")
    assert (code, out) == (2, "")
    assert err.startswith("nnzoo-fast: ") and message in err and err.count("\n") == 1


def test_compilers_message_has_the_users_lines(add, run):
    path = write(Path.cwd(), ADD.replace("a[i] * f", "a[i] * g"), "wrong.cu")
    code, out, err = run("run", path.name, "--kernel", "add", "--grid", 1, "--block", 1)
    assert (code, out) == (2, "")
    assert "wrong.cu:4:" in err and "error: ‘g’ was not declared" in err and str(Path.cwd()) not in err
    code, _, err = run("check", "header.cu", "--kernel", "add", "--grid", 1, "--block", 1)
    assert code == 2 and "header.cu:1:" in err and "no_such_header.h" in err
    write(Path.cwd(), "__global__ void add(float* x { x[0] = 1; }\n", "hidden.cu")  # a mistake that hides the kernel
    code, _, err = run("run", "hidden.cu", "--kernel", "add", "--grid", 1, "--block", 1)
    assert code == 2 and "hidden.cu:1:" in err and "expected ‘)’" in err


def test_missing_compiler(add, run, monkeypatch):
    compiler.compiler.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = run("run", "add.cu", "--kernel", "add", "--grid", 1, "--block", 1)
    compiler.compiler.cache_clear()
    assert code == 2 and "kernels are compiled with g++, and there is no g++ on PATH: install it" in err
    assert err.count("\n") == 1


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


CRASHES = """#include <cstdio>
#include <cassert>
__global__ void beyond(float* x, int i) { x[i] = 1; }
__global__ void null(float* x) {
  float* none = 0;
  none[threadIdx.x] = 1;
}
__global__ void half_barrier(float* x) {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncwarp();
}
__global__ void spin(volatile int* x) { while (x[0] == 0) {} }
__global__ void talk(int* x) { printf("thread %d\\n", threadIdx.x); }
__global__ void trap(int* x) { __trap(); }
"""


@pytest.fixture
def crashes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros(5, np.float32))
    np.save("i.npy", np.zeros(1, np.int32))
    return write(tmp_path, CRASHES, "crashes.cu")


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


def test_time_runs_out(crashes, run):
    code, out, err = run(*"run crashes.cu --kernel spin --grid 1 --block 1 --timeout 0.5 --args i.npy".split())
    assert (code, out) == (2, "") and "not done after 0.5 s" in err and err.count("\n") == 1


def test_json_is_alone_on_standard_output(crashes, run):
    words = "run crashes.cu --kernel talk --grid 1 --block 2 --args i.npy".split()
    code, out, err = run(*words, "--json")
    assert code == 0 and json.loads(out)["grid"] == [1, 1, 1] and err == "thread 0\nthread 1\n"
    code, out, err = run(*words, "--order", "reverse")
    assert code == 0 and out.startswith("thread 1\nthread 0\n")


def test_cache_is_private_and_used(add, run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache/nnzoo_fast/cuemu").mkdir(parents=True, mode=0o755)
    commands = []
    original = compiler.run
    monkeypatch.setattr(compiler, "run", lambda *command: commands.append(command) or original(*command))

    def compiled(*more):
        commands.clear()
        assert run("run", *LAUNCH.split(), *"f.npy f.npy i32:8 f32:1 f64:1".split(), *more)[0] == 0
        return sum("c++-cpp-output" in command for command in commands)

    assert compiled() == 1 and compiled() == 0
    assert compiled("-D", "NEW=1") == 0  # the text is the same without the macro
    assert compiled("-D", "i=j") == 1
    Path("add.cu").write_text(ADD + "// at the end\n")
    assert compiled() == 0
    Path("add.cu").write_text("\n" + ADD)
    assert compiled() == 1
    folder = tmp_path / "cache/nnzoo_fast/cuemu"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_cache_entries_are_whole_or_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def slow(folder):
        # While it is being made, another process makes it, too.
        if not made:
            made.append(cache.entry("x", lambda folder: (folder / "f").write_text("other")))
        (folder / "f").write_text("mine")

    def fails(folder):
        (folder / "half").write_text("")
        raise CompileError("no")

    made_late = cache.entry("x", slow)
    assert made_late == made[0] and (made_late / "f").read_text() == "other"
    with pytest.raises(CompileError):
        cache.entry("y", fails)
    assert sorted(path.name for path in cache.folder().iterdir()) == ["x"]
    os.utime(made_late, (0, 0))
    cache.entry("z", lambda folder: None)
    assert sorted(path.name for path in cache.folder().iterdir()) == ["z"]


def test_cache_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "nnzoo_fast").mkdir()
    (tmp_path / "nnzoo_fast/cuemu").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="not a folder of yours"):
        cache.folder()


def test_processes_that_build_at_once(add, tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", "from nnzoo_fast.cli import main; main()", "cuemu", "run"]
    words = ["add.cu", "--kernel", "fill<3>", "--grid", "1", "--block", "1", "--args", "f.npy"]
    Path("add.cu").write_text(ADD + f"// {tmp_path}\n__device__ int fresh_{os.getpid()};\n")
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    start = dict(env=environment, stderr=subprocess.PIPE, text=True)
    children = [subprocess.Popen([*command, *words], **start) for _ in range(3)]
    for child in children:
        _, err = child.communicate(timeout=120)
        assert child.returncode == 2 and "takes an array of int32, and this is float32" in err


class Structure(HTMLParser):
    """Fails on tags that don't match, and collects tags and text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_listing(crashes, run, tmp_path):
    path = write(tmp_path, CRASHES + 'int tail = 3 < 4 && "a\\"</td>"; /* over\n two lines */\n', "<b>&.cu")
    launch = ["--kernel", "beyond", "--grid", 1, "--block", 1, "--args", "x.npy", "i32:9"]
    code, out, _ = run("check", path, *launch, "--html", "x.html")
    page = Structure()
    page.feed(Path("x.html").read_text())
    assert code == 1 and "wrote x.html" in out
    assert not page.open and ("b", {}) in page.tags  # the finding's kind, no tag from the name
    assert sum(tag == "b" for tag, _ in page.tags) == 2
    assert "<b>&.cu" in page.text and 'int tail = 3 < 4 && "a\\"</td>";' in page.text and "1 finding" in page.text
    rows = [attributes for tag, attributes in page.tags if tag == "tr" and "id" in attributes]
    assert [row["id"] for row in rows if "bad" in row.get("class", "")] == ["f0-3"]
    assert not [tag for tag, attributes in page.tags if "src" in attributes or "http" in attributes.get("href", "")]


def test_python_front(add):
    kernel = cuemu.compile("add.cu", "add")
    a, b = np.ones(8, np.float32), np.zeros(8, np.float32)
    kernel(a, b, 8, 2, 0.5, grid=1, block=8)
    assert (b == 1).all()
    report = cuemu.check(kernel, a, b, 8, 2, 0.5, grid=1, block=8)
    assert report.clean and (b == 2).all() and {line.line for line in report.lines} == {4}
    report = cuemu.check(kernel, a, b, 99, 2, 0.5, grid=1, block=9)
    assert {finding.kind for finding in report.findings} == {"out_of_bounds"} and "add.cu:4" in str(report)
    with pytest.raises(cuemu.KernelError, match="out_of_bounds"):
        kernel(a, b, 10**6, 2, 0.5, grid=1, block=1024)
    with pytest.raises(UsageError, match=r"argument 2 \(array 2\): .* takes an array of float32, and this is float64"):
        kernel(a, b.astype(float), 8, 2, 0.5, grid=1, block=8)
    with pytest.raises(TypeError, match="argument 3 of a kernel is an array or a number, got str"):
        kernel(a, b, "8", 2, 0.5, grid=1, block=8)


def test_numbers_of_python_fit_what_can_hold_them():
    assert arguments.of_value(np.float32(0.1), 1).kind == "f32"
    assert arguments.of_value(True, 1).kind == arguments.of_value(np.int16(3), 1).kind == "int"
    assert arguments.of_value(1e300, 1).kind == "float"
