"""Wheels, source distributions and editable installs, built as a stranger's pip builds them: in isolated environments
that hold no torch. Slow; most tests build a toy project, this project's build around one small kernel."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest
import torch
from interpreter import run_python

from nnzoo_fast import _extension

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
BUILD_FILES = [
    "setup.py",
    "pyproject.toml",
    "nnzoo_fast_command.py",
    "README.md",
    "LICENSE",
    "MANIFEST.in",
    "build_support",
]
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

TOY = {
    "toy.h": """
        #pragma once
        #include "common/kernel.h"
        namespace nnzoo {
        struct Toy { float* x; int size; };
        NNZOO_KERNEL(toy, Toy)
        }
    """,
    "toy_cpu.cpp": """
        #include "ops/toy/toy.h"
        namespace nnzoo::NNZOO_ISA {
        void toy(const Toy& args) {
          for (int i = 0; i < args.size; ++i) args.x[i] += 1;
        }
        }
    """,
    "toy_bind.cpp": """
        #include "common/bind.h"
        #include "ops/toy/toy.h"
        static const nnzoo::Binder bind_toy([](nnzoo::py::module_& module) {
          module.def("toy", [](nnzoo::Address x, int size) { nnzoo::toy({nnzoo::pointer<float>(x), size}); });
        });
    """,
}


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    # Warnings as errors, as in `make build`: with the same flags a compiler cache serves both.
    defaults = {"NNZOO_BUILD_WERROR": "1", "NNZOO_BUILD_CUDA": "0"}
    environment = {**os.environ, "PYTHONPATH": "", **defaults, **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=1200)


def succeed(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    done = run(*command, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def pip_wheel(source: Path, directory: Path, **environment: str) -> tuple[Path, str]:
    """Builds a wheel of `source` under build isolation; returns it with pip's output."""
    command = (sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--wheel-dir", directory, source)
    output = succeed(*command, **environment)
    (wheel,) = directory.glob("*.whl")
    return wheel, output


def unpack(wheel: Path, directory: Path) -> Path:
    succeed(sys.executable, "-m", "pip", "install", "--no-deps", "--target", directory, wheel)
    return directory


@pytest.fixture
def toy(tmp_path) -> Path:
    """A project with this project's build, its module and common/, one toy op, and the package's loader."""
    project = tmp_path / "project"
    (project / "nnzoo_fast").mkdir(parents=True)
    for name in BUILD_FILES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    shutil.copy(ROOT / "nnzoo_fast" / "_extension.py", project / "nnzoo_fast")
    (project / "nnzoo_fast" / "__init__.py").write_text('from nnzoo_fast import _extension\n\n__version__ = "0.1.0"\n')
    for pattern in ("module.cpp", "common/bind.*", "common/cpu*", "common/kernel.h"):
        for source in (ROOT / "csrc").glob(pattern):
            target = project / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    add_op(project, "toy")
    return project


def add_op(project: Path, name: str) -> None:
    directory = project / "csrc/ops" / name
    directory.mkdir(parents=True)
    for file, text in TOY.items():
        renamed = re.sub(r"toy|Toy", lambda match: name if match.group() == "toy" else name.title(), text)
        (directory / file.replace("toy", name)).write_text(textwrap.dedent(renamed).lstrip())


def build_in_place(project: Path) -> list[str]:
    """Runs the development build and returns what ninja made, as paths below its directory."""
    output = succeed(sys.executable, "setup.py", "--quiet", "build_ext", "--inplace", cwd=project)
    return sorted(re.findall(r"^\[\d+/\d+\] \w+ build/ninja/[^/]+/(\S+)", output, re.MULTILINE))


def test_sdist_gives_a_relocatable_wheel_without_torch(tmp_path):
    succeed(sys.executable, "-m", "build", "--sdist", "--outdir", tmp_path / "sdist", ROOT)
    (sdist,) = (tmp_path / "sdist").iterdir()
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {
        str(path.relative_to(ROOT))
        for directory in ("nnzoo_fast", "csrc", "tests", "build_support")
        for path in (ROOT / directory).rglob("*")
        if path.is_file() and path.suffix not in {".so", ".pyc"}
    }
    assert {"setup.py", "Makefile", "constraints.txt", "LICENSE", *sources} <= names
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc"))]

    wheel, _ = pip_wheel(sdist, tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        module = archive.read("nnzoo_fast/_C" + SUFFIX)
    emulator = {f"nnzoo_fast/cuemu/{source}" for source in sources if source.startswith("csrc/cuemu/")}
    assert len(emulator) > 50 and emulator <= names
    assert {"nnzoo_fast/py.typed", *(source for source in sources if source.startswith("nnzoo_fast/"))} <= names
    assert not [name for name in names if name.startswith(("csrc", "tests", "build_support")) or "_cuemu" in name]
    assert f"{sys.implementation.cache_tag.replace('cpython-', 'cp')}-linux" in wheel.name
    assert str(tmp_path).encode() not in module and str(ROOT).encode() not in module

    installed = unpack(wheel, tmp_path / "installed").rename(tmp_path / "moved")
    done = run_python(
        """
        import torch, nnzoo_fast
        from importlib.metadata import distribution
        from nnzoo_fast import _extension
        x = torch.randn(7, 5, dtype=torch.float64)
        torch.testing.assert_close(nnzoo_fast.ops.linear(x, x, backend="cpu"), torch.nn.functional.linear(x, x))
        (script,) = distribution("nnzoo-fast").entry_points
        assert script.name == "nnzoo-fast" and callable(script.load())
        print(_extension._C.__file__, nnzoo_fast.__version__)
        """,
        installed,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    file, version = done.stdout.split()
    assert file == str(installed / "nnzoo_fast" / ("_C" + SUFFIX))
    assert wheel.name.startswith(f"nnzoo_fast-{version}-")


def test_isolated_build_sees_no_torch(toy, tmp_path):
    with (toy / "setup.py").open("a") as script:
        script.write("import importlib.util\nprint('torch is', importlib.util.find_spec('torch'), file=sys.stderr)\n")
    _, output = pip_wheel(toy, tmp_path / "wheel")
    assert "torch is None" in output


@pytest.mark.parametrize("how", ["asked", "no compiler"])
def test_pure_python_wheel_works_and_warns_once(how, tmp_path):
    if how == "asked":
        environment = {"NNZOO_BUILD_CPU": "0"}
    else:
        environment = {"PATH": str(tmp_path / "empty"), "CXX": ""}
    source = tmp_path / "source"
    shutil.copytree(ROOT / "nnzoo_fast", source / "nnzoo_fast", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in BUILD_FILES:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, source / name)
    wheel, output = pip_wheel(source, tmp_path / "wheel", **environment)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert ("no C++ compiler was found" in output) == (how == "no compiler")

    done = run_python(
        """
        import torch, nnzoo_fast, nnzoo_fast.ops
        x = torch.randn(7, 5, requires_grad=True)
        nnzoo_fast.ops.linear(x, x).sum().backward()
        assert torch.equal(nnzoo_fast.ops.linear(x, x), torch.nn.functional.linear(x, x))
        """,
        unpack(wheel, tmp_path / "installed"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning") == 1 and "nnzoo_fast._C is not part of this installation" in done.stderr


def test_installed_command_checks_a_strangers_kernel(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "nnzoo_fast", source / "nnzoo_fast", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copytree(ROOT / "csrc" / "cuemu", source / "csrc" / "cuemu")
    for name in BUILD_FILES:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, source / name)
    wheel, _ = pip_wheel(source, tmp_path / "wheel", NNZOO_BUILD_CPU="0")
    installed = unpack(wheel, tmp_path / "installed")
    shutil.rmtree(source)
    code = f"""
        import os
        import numpy
        os.environ["XDG_CACHE_HOME"] = {str(tmp_path / "cache")!r}
        from nnzoo_fast import cli, cuemu
        assert cuemu.__file__.startswith({str(installed)!r})
        numpy.save("x.npy", numpy.arange(1000, dtype=numpy.float32))
        numpy.save("sums.npy", numpy.zeros(4, numpy.float32))
        launch = ["--kernel", "reduce", "--grid", "4", "--block", "128", "--smem", "512"]
        words = [*launch, "--args", "x.npy", "sums.npy", "u32:1000", "--save", "after", "--json"]
        try:
            cli.main(["cuemu", "check", {str(ROOT / "tests/cuemu/student/reduction.cu")!r}, *words])
        except SystemExit as leaving:
            assert leaving.code == 0
        assert numpy.load("after/sums.npy").sum() == 499500
    """
    done = run_python(code, installed)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["findings"] == []


@pytest.mark.parametrize("knows_its_target", [False, True], ids=["dead", "cannot compile"])
def test_failing_compiler_is_an_error_with_its_output(toy, tmp_path, knows_its_target):
    compiler = tmp_path / "bin" / "g++"
    compiler.parent.mkdir()
    answer = '[ "$1" = -dumpmachine ] && echo x86_64-linux-gnu && exit 0\n' if knows_its_target else ""
    compiler.write_text(f"#!/bin/sh\n{answer}echo planted compiler failure >&2\nexit 1\n")
    compiler.chmod(0o755)
    command = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path / "wheel", toy)
    done = run(*command, PATH=f"{compiler.parent}:{os.environ['PATH']}", CXX="")
    assert done.returncode != 0
    assert "planted compiler failure" in done.stdout + done.stderr
    assert not (tmp_path / "wheel").exists() or not list((tmp_path / "wheel").iterdir())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"CXX": "no-such-compiler"}, "CXX names 'no-such-compiler', which is not an executable file"),
        ({"NNZOO_BUILD_CPU": "yes"}, "NNZOO_BUILD_CPU must be one of 0, 1, got 'yes'"),
        ({"NNZOO_BUILD_CUDA": "on"}, "NNZOO_BUILD_CUDA must be one of auto, 0, 1, got 'on'"),
        ({"NNZOO_BUILD_JOBS": "0"}, "NNZOO_BUILD_JOBS must be a positive integer, got '0'"),
        ({"NNZOO_CUDA_ARCHS": "sm_90"}, "NNZOO_CUDA_ARCHS must look like \"80;90a\", got 'sm_90'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_setting_is_an_error(toy, setting, message):
    done = run(sys.executable, "setup.py", "--quiet", "build_ext", "--inplace", cwd=toy, **setting)
    assert done.returncode != 0
    assert f"nnzoo_fast: {message}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("asked", "nvcc", "modules"),
    [
        ("auto", None, "_C"),
        ("auto", "nvcc", "_C _cuda"),
        ("0", "nvcc", "_C"),
        ("1", "nvcc", "_C _cuda"),
        ("1", None, "nnzoo_fast: NNZOO_BUILD_CUDA=1, but nvcc is neither on PATH nor in /usr/local/cuda/bin"),
    ],
)
def test_cuda_module_is_built_where_nvcc_is_and_it_is_wanted(asked, nvcc, modules):
    code = f"""
        from build_support import command
        command.find_nvcc = lambda: {nvcc!r}
        print(*(extension.name.removeprefix("nnzoo_fast.") for extension in command.extensions()))
    """
    settings = {"NNZOO_BUILD_CUDA": asked, "NNZOO_BUILD_CUEMU": "0"}
    done = run(sys.executable, "-c", textwrap.dedent(code), cwd=ROOT, **settings)
    assert (done.stdout + done.stderr).strip() == modules
    assert (done.returncode == 0) == modules.startswith("_C")


def test_touching_one_kernel_rebuilds_that_kernel_only(toy):
    add_op(toy, "other")
    isas = _extension._C.build_info()["isas"]
    assert {f"{isa}/csrc/ops/{op}/{op}_cpu.o" for isa in isas for op in ("toy", "other")} < set(build_in_place(toy))
    assert build_in_place(toy) == []
    (toy / "csrc/ops/toy/toy_cpu.cpp").touch()
    assert build_in_place(toy) == ["_C" + SUFFIX, *sorted(f"{isa}/csrc/ops/toy/toy_cpu.o" for isa in isas)]
    (toy / "csrc/ops/toy/toy.h").touch()
    assert "once/csrc/ops/toy/toy_bind.o" in build_in_place(toy)


def test_module_that_is_no_longer_asked_for_goes_away(toy):
    old = toy / "nnzoo_fast" / ("_cuda" + SUFFIX)
    old.write_bytes(b"of an earlier build")
    build_in_place(toy)
    assert not old.exists()
    assert (toy / "nnzoo_fast" / ("_C" + SUFFIX)).exists()


def test_editable_install_finds_the_checkout(toy, tmp_path):
    environment = tmp_path / "environment"
    succeed(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    site = Path(succeed(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "borrowed.pth").write_text(str(Path(torch.__file__).parent.parent))  # torch, without a second copy of it
    succeed(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "-e", toy)
    code = """
        import torch
        from nnzoo_fast._extension import _C
        x = torch.zeros(3)
        for isa in _C.isas():
            _C.set_isa(isa)
            _C.toy(x.data_ptr(), x.numel())
        print(int(x.sum()) == 3 * len(_C.isas()), _C.__file__)
    """
    output = succeed(python, "-c", textwrap.dedent(code), cwd=tmp_path).split()
    assert output == ["True", str(toy / "nnzoo_fast" / ("_C" + SUFFIX))]
