"""Wrong usage, and what compilers say."""

from pathlib import Path

import pytest
from strangers import ADD, LAUNCH, write

from nnzoo_fast.cuemu import compiler


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


def test_inline_ptx_is_refused_in_words(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path, '__global__ void lane(int* x) {\n  asm volatile("mov.u32 %0, %%laneid;" : "=r"(x[0]));\n}\n', "ptx.cu"
    )
    code, _, err = run("check", "ptx.cu", "--kernel", "lane", "--grid", 1, "--block", 1)
    first = next(line for line in err.splitlines() if "error:" in line)
    assert code == 2 and first.startswith("ptx.cu:2:") and first.endswith("inline PTX is not emulated")


def test_missing_compiler(add, run, monkeypatch):
    compiler.compiler.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = run("run", "add.cu", "--kernel", "add", "--grid", 1, "--block", 1)
    compiler.compiler.cache_clear()
    assert code == 2 and "kernels are compiled with g++, and there is no g++ on PATH: install it" in err
    assert err.count("\n") == 1
