"""setuptools' `build_ext`, done by ninja, and a `build_py` that ships the emulator's sources."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

from build_support.settings import BuildError, Settings
from build_support.toolchain import find_cxx, find_nvcc

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "nnzoo_fast"


def extensions() -> list[Extension]:
    """The compiled modules that this machine and the settings ask for; none means a pure-Python package."""
    try:
        return [Extension(f"{PACKAGE}.{name}", sources=[]) for name in _module_names(Settings.from_environment())]
    except BuildError as error:
        sys.exit(f"nnzoo_fast: {error}")


def _module_names(settings: Settings) -> list[str]:
    if not settings.cpu:
        return []
    if not sys.platform.startswith("linux"):
        return _pure_python(f"its kernels are built on Linux only, and this is {platform.system()}")
    if find_cxx(settings.cxx) is None:
        return _pure_python("no C++ compiler was found (g++, c++ or clang++ on PATH, or CXX)")
    names = ["_C"]
    has_cuda_sources = (ROOT / "csrc/cuda_module.cpp").exists()
    if settings.cuda == "1" and find_nvcc() is None:
        raise BuildError("NNZOO_BUILD_CUDA=1, but nvcc is neither on PATH nor in /usr/local/cuda/bin")
    if settings.cuda != "0" and find_nvcc() and has_cuda_sources:
        names.append("_cuda")
    if settings.cuemu != "0" and has_cuda_sources:
        names.append("_cuemu")
    if settings.cuemu == "check" and has_cuda_sources:
        names.append("_cuemu_check")
    return names


def _pure_python(reason: str) -> list[str]:
    print(f"nnzoo_fast: building pure Python, stock torch will do all the work: {reason}.", file=sys.stderr)
    return []


def _module_name(extension: Extension) -> str:
    return extension.name.rpartition(".")[2]


class BuildPython(build_py):
    """Puts csrc/cuemu into the package: `nnzoo-fast cuemu` compiles it where it runs, beside a user's kernel."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, target in self._emulator():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *(str(target) for _, target in self._emulator())]

    def _emulator(self) -> list[tuple[Path, Path]]:
        sources = (path for path in sorted((ROOT / "csrc" / "cuemu").rglob("*")) if path.is_file())
        return [(path, Path(self.build_lib, PACKAGE, "cuemu", path.relative_to(ROOT))) for path in sources]


class NinjaBuild(build_ext):
    """Runs ninja over csrc/ and copies each linked module to where setuptools wants it."""

    def run(self) -> None:
        self._remove_old_modules()
        super().run()

    def _remove_old_modules(self) -> None:
        """Else a module of an earlier build, which is no longer asked for, would be packed or loaded."""
        asked_for = {_module_name(extension) for extension in self.extensions or ()}
        for directory in (Path(self.build_lib), *([ROOT] if self.inplace else [])):
            for path in directory.glob(f"{PACKAGE}/_*{sysconfig.get_config_var('EXT_SUFFIX')}"):
                if path.name.partition(".")[0] not in asked_for:
                    path.unlink()

    def build_extensions(self) -> None:
        from build_support.ninja_file import NinjaFile  # needs pybind11 and ninja, which a pure-Python build does not

        settings = Settings.from_environment()
        # Not setuptools' build_temp: an editable install moves that, and every build would start anew.
        directory = Path("build", "ninja", f"{sysconfig.get_platform()}-{sys.implementation.cache_tag}")
        ninja_file = NinjaFile(ROOT, directory, settings, find_cxx(settings.cxx))
        names = [_module_name(extension) for extension in self.extensions]
        try:
            path = ninja_file.write(names)
        except BuildError as error:
            sys.exit(f"nnzoo_fast: {error}")
        jobs = ["-j", str(settings.jobs)] if settings.jobs else []
        if subprocess.run([sys.executable, "-m", "ninja", "-f", str(path), *jobs], cwd=ROOT).returncode:
            hint = " NNZOO_BUILD_CUDA=0 builds without the CUDA kernels." if "_cuda" in names else ""
            sys.exit(f"nnzoo_fast: the C++ build failed; the compiler's output stands above.{hint}")
        for extension, name in zip(self.extensions, names, strict=True):
            target = Path(self.get_ext_fullpath(extension.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / ninja_file.module_path(name), target)
