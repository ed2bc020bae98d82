"""What was built, looked at from outside: what the modules link, which symbols the kernels leave, how they load."""

import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from built import ISAS
from interpreter import printed, run_python

from nnzoo_fast import _extension

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "nnzoo_fast"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
NINJA_FILE = Path("build", "ninja", f"{sysconfig.get_platform()}-{sys.implementation.cache_tag}", "build.ninja")
BUILT = [path for path in (PACKAGE / (name + SUFFIX) for name in ("_C", "_cuda", "_cuemu")) if path.exists()]
SYSTEM_LIBRARIES = re.compile(
    r"(libstdc\+\+|libgcc_s|libgomp|libomp|libm|libc|libdl|librt|libpthread|ld-linux[\w-]*)\.so"
)


def dynamic_section(path: Path) -> list[tuple[str, str]]:
    """The (tag, value) pairs that name other files: NEEDED, RPATH, RUNPATH."""
    output = subprocess.run(["readelf", "-d", path], check=True, capture_output=True, text=True).stdout
    return re.findall(r"\((NEEDED|RPATH|RUNPATH)\).*\[(.*)\]", output)


def foreign_links(path: Path) -> list[tuple[str, str]]:
    """What a module needs beyond the system's own libraries: torch's, CUDA's, or a path of the build machine."""
    return [
        (tag, value) for tag, value in dynamic_section(path) if tag != "NEEDED" or not SYSTEM_LIBRARIES.match(value)
    ]


def test_cpu_module_is_built():
    assert _extension.load("_C") is not None, _extension.part("_C").reason


@pytest.mark.parametrize("module", BUILT, ids=lambda path: path.name.split(".")[0])
def test_module_links_system_libraries_only(module):
    assert ("NEEDED", "libstdc++.so.6") in dynamic_section(module)
    assert foreign_links(module) == []


def test_foreign_links_are_seen():
    (torch_module,) = Path(torch.__file__).parent.glob("_C.*.so")
    assert [value for _, value in foreign_links(torch_module) if value.startswith("libtorch")]


def foreign_weak_symbols(object_file: Path, isa: str) -> list[str]:
    """Weak definitions outside of the ISA's namespace: the linker keeps any one copy, maybe one this CPU can't run."""
    output = subprocess.run(["nm", "-C", object_file], check=True, capture_output=True, text=True).stdout
    weak = re.findall(r"^[0-9a-f]+ [WVu] (.*)$", output, re.MULTILINE)
    # DW.ref.* is a pointer to the run-time library's exception handler, the same whatever the instruction set.
    return [symbol for symbol in weak if f"nnzoo::{isa}::" not in symbol and not symbol.startswith("DW.ref.")]


def objects_of_cpu_module() -> list[tuple[str, Path]]:
    """Every object linked into `_C`, as (variant, path); the variant is an ISA, or "once" for files without kernels."""
    target = NINJA_FILE.parent / ("_C" + SUFFIX)
    command = [sys.executable, "-m", "ninja", "-f", str(NINJA_FILE), "-t", "inputs", str(target)]
    inputs = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    found = [re.search(r"/(\w+)/csrc/.*\.o$", line) for line in inputs]
    return [(match.group(1), ROOT / match.string) for match in found if match]


def test_kernels_leave_no_weak_symbol_outside_their_namespace():
    objects = [(isa, path) for isa, path in objects_of_cpu_module() if isa != "once"]
    assert {isa for isa, _ in objects} == set(_extension._C.build_info()["isas"])
    assert {str(path): bad for isa, path in objects if (bad := foreign_weak_symbols(path, isa))} == {}


@pytest.mark.parametrize(
    ("body", "offends"),
    [
        ("inline float twice(float x) { return x + x; }", False),
        ("} inline float twice(float x) { return x + x; } namespace nnzoo::avx2 {", True),
    ],
    ids=["inside", "outside"],
)
def test_weak_symbols_are_seen(tmp_path, body, offends):
    source = tmp_path / "probe.cpp"
    source.write_text(f"namespace nnzoo::avx2 {{ {body} float (*probe)(float) = &twice; }}")
    compiler = next(filter(shutil.which, ("g++", "c++", "clang++")))
    subprocess.run([compiler, "-c", source, "-o", tmp_path / "probe.o"], check=True)
    assert foreign_weak_symbols(tmp_path / "probe.o", "avx2") == (["twice(float)"] if offends else [])


# Instructions that trap on a CPU which has only the ISA named. Below AVX, compilers write none that starts in v.
ABOVE = {
    "once": re.compile(r"\tv[a-z]"),
    "baseline": re.compile(r"\tv[a-z]"),
    "avx2": re.compile(r"%zmm|%[xy]mm(1[6-9]|2\d|3[01])|%k[0-7]"),
    "avx512": re.compile(r"\tv(dpbf16ps|cvtne2?ps2bf16)"),
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 is built for several instruction sets")
@pytest.mark.parametrize("variant", [*ABOVE, "avx512_bf16"])
def test_objects_hold_no_instruction_above_their_isa(variant):
    paths = [path for name, path in objects_of_cpu_module() if name == variant]
    listing = subprocess.run(["objdump", "-d", *paths], check=True, capture_output=True, text=True).stdout
    assert len(listing) > 10_000
    if variant == "avx512_bf16":  # the control: each pattern finds what it looks for
        assert all(pattern.search(listing) for pattern in ABOVE.values())
    else:
        assert ABOVE[variant].findall(listing) == []


def test_one_openmp_runtime_and_it_is_torchs():
    code = """
        import nnzoo_fast
        from pathlib import Path
        maps = Path("/proc/self/maps").read_text().split()
        print(*sorted({entry for entry in maps if "libgomp" in entry or "libomp" in entry}))
    """
    libraries = printed(code, ROOT)
    assert libraries == _extension._C.build_info()["openmp_library"]
    assert Path(libraries).is_relative_to(Path(torch.__file__).parent)


@pytest.mark.parametrize("isa", ISAS)
def test_environment_lowers_the_isa(isa):
    code = """
        from nnzoo_fast import _extension
        print(_extension._C.isa())
    """
    assert printed(code, ROOT, NNZOO_ISA=isa) == isa


def test_default_isa_is_the_best():
    code = "from nnzoo_fast._extension import _C; print(_C.isa() == _C.isas()[-1])"
    assert printed(code, ROOT, NNZOO_ISA="") == "True"


def test_unknown_isa_is_an_error():
    done = run_python("import nnzoo_fast", ROOT, NNZOO_ISA="avx1024")
    assert done.returncode != 0
    assert "ValueError: environment variable NNZOO_ISA: isa must be one of ('baseline'" in done.stderr
    assert "got 'avx1024'" in done.stderr


AVX, AVX2, AVX512, BF16 = 1 << 28 | 1 << 27 | 1 << 12 | 1 << 29, 1 << 5, 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31, 1 << 5


@pytest.mark.skipif(platform.machine() != "x86_64", reason="CPUID is x86's")
@pytest.mark.parametrize(
    ("words", "isa"),
    [
        pytest.param((AVX, AVX2 | AVX512, BF16, 0xE7), "avx512_bf16", id="zen4"),
        pytest.param((AVX, AVX2 | AVX512, 0, 0xE7), "avx512", id="skylake-x"),
        pytest.param((AVX, AVX2 | AVX512, BF16, 0x07), "avx2", id="system-saves-no-zmm"),
        pytest.param((AVX, AVX2 | AVX512 & ~(1 << 31), BF16, 0xE7), "avx2", id="without-avx512vl"),
        pytest.param((AVX, AVX2, BF16, 0xE7), "avx2", id="alder-lake"),
        pytest.param((AVX & ~(1 << 12), AVX2 | AVX512, BF16, 0xE7), "baseline", id="without-fma"),
        pytest.param((AVX, AVX2 | AVX512, BF16, 0x03), "baseline", id="system-saves-no-ymm"),
        pytest.param((AVX, 0, BF16, 0xE7), "baseline", id="sandy-bridge"),
        pytest.param((0, 0, 0, 0), "baseline", id="x86-64"),
    ],
)
def test_an_isa_that_the_cpu_lacks_is_not_chosen(words, isa):
    built = _extension._C.build_info()["isas"]
    assert _extension._C.isa_for(*words) == (isa if isa in built else "avx512")


def test_an_isa_above_the_cpu_is_refused():
    """Whatever this build holds beyond `isas()` would trap here."""
    above = [name for name in (*_extension._C.build_info()["isas"], "avx1024") if name not in ISAS]
    before = _extension._C.isa()
    for name in above:
        with pytest.raises(ValueError, match=f"got '{name}'"):
            _extension._C.set_isa(name)
    assert _extension._C.isa() == before


def share_of_torch(module: str) -> float:
    """The function calls that importing `module` makes after torch, as a share of those of importing torch: the same
    on a busy machine, and with or without cached bytecode."""
    code = f"""
        import importlib, sys

        def calls(module):
            count = 0

            def tally(frame, event, argument):
                nonlocal count
                count += event in ("call", "c_call")

            sys.setprofile(tally)
            importlib.import_module(module)
            sys.setprofile(None)
            return count

        of_torch = calls("torch")
        print(calls({module!r}) / of_torch)
    """
    return float(printed(code, ROOT))


def test_import_is_quick():
    """A tenth of torch's own import at most; one that loads torch's compiler takes more, which shows the measure."""
    assert share_of_torch("nnzoo_fast") < 0.1
    assert share_of_torch("torch._dynamo") > 0.1


def test_import_leaves_heavy_modules_alone():
    code = """
        import sys, torch
        before = set(sys.modules)
        import nnzoo_fast
        print(sorted({"triton", "matplotlib", "sklearn", "typer", "rich", "networkx"} & (set(sys.modules) - before)))
    """
    assert printed(code, ROOT) == "[]"


def test_forked_child_runs_on_one_thread():
    # The parent has run a parallel region: its child would wait forever for threads that fork did not copy.
    code = """
        import os, torch
        from nnzoo_fast import ops
        from nnzoo_fast._extension import _C
        torch.set_num_threads(4)
        x = torch.randn(64, 64)
        expected = ops.linear(x, x, backend="cpu")
        child = os.fork()
        if child == 0:
            same = torch.equal(ops.linear(x, x, backend="cpu"), expected)
            os._exit(0 if same and _C.usable_threads(4) == 1 else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), _C.usable_threads(4))
    """
    assert printed(code, ROOT) == "0 4"


@pytest.fixture
def package_copy(tmp_path) -> Path:
    """The package as built, in a folder of its own where a test may break it."""
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def break_module(root: Path, name: str) -> None:
    (root / PACKAGE.name / (name + SUFFIX)).write_bytes(b"not a shared library")


@pytest.mark.parametrize("name", ["_cuda", "_cuemu"])
def test_broken_optional_module_breaks_nothing(package_copy, name):
    break_module(package_copy, name)
    done = run_python(
        f"""
        import torch, nnzoo_fast
        from nnzoo_fast import _extension
        x = torch.randn(3, 5)
        assert nnzoo_fast.__file__.startswith({str(package_copy)!r})
        assert nnzoo_fast.ops.linear(x, x, backend="cpu").shape == (3, 3)
        print(_extension.part({name!r}).reason)
        """,
        package_copy,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"nnzoo_fast.{name} failed to load: ")
    assert "RuntimeWarning" not in done.stderr


@pytest.mark.parametrize("state", ["missing", "broken"])
def test_without_cpu_module_stock_torch_runs_and_one_warning_says_so(package_copy, state):
    if state == "missing":
        (package_copy / PACKAGE.name / ("_C" + SUFFIX)).unlink()
    else:
        break_module(package_copy, "_C")
    done = run_python(
        """
        import torch, nnzoo_fast, nnzoo_fast.ops
        from nnzoo_fast import _extension
        x = torch.randn(3, 5)
        assert torch.equal(nnzoo_fast.ops.linear(x, x), torch.nn.functional.linear(x, x))
        """,
        package_copy,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    why = "is not part of this installation" if state == "missing" else "failed to load"
    assert f"nnzoo_fast._C {why}" in done.stderr
    assert "install a C++17 compiler" in done.stderr
