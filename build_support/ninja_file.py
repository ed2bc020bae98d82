"""Writes build.ninja. Sources are found by their names' endings; no op is named here.

    csrc/ops/<op>/<op>_cpu.cpp        once per ISA                        -> _C
    csrc/ops/<op>/<op>_bind.cpp       once; sees pybind11                 -> _C
    csrc/ops/<op>/<op>_cuda.cu        by nvcc, or by g++ through cuemu    -> _cuda, _cuemu, _cuemu_check
    csrc/ops/<op>/<op>_cuda_bind.cpp  once per CUDA module; sees pybind11 -> _cuda, _cuemu, _cuemu_check
    csrc/common/*.cpp                 once                                -> _C, and bind.cpp in all

Paths are relative to the project's root, where ninja runs, so that a compiler cache serves every checkout. Only files
that see pybind11 get its include path: build isolation moves it each time, and kernels must not be rebuilt for that.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from shlex import join, quote

import pybind11
from ninja.ninja_syntax import Writer

from build_support.settings import Settings
from build_support.toolchain import (
    Command,
    accepts,
    cuda_include_flags,
    find_nvcc,
    python_include,
    targets_x86,
    with_cache,
)

BIND = Path("csrc/common/bind.cpp")
RED_ZONES = Path("nnzoo_fast/cuemu/red_zones.py")
BASELINE = {"baseline": []}
FMA_AND_HALF = ["-mfma", "-mf16c"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
X86_ISAS = {
    **BASELINE,
    "avx2": ["-mavx2", *FMA_AND_HALF],
    "avx512": [*AVX512, *FMA_AND_HALF],
    "avx512_bf16": [*AVX512, *FMA_AND_HALF, "-mavx512bf16"],
}
COMMON_FLAGS = ["-std=c++17", "-O3", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-fopenmp", "-Wall", "-Wextra"]
NVCC_FLAGS = ["-std=c++17", "-O3", "-DNDEBUG", "-Xcompiler", "-fPIC,-fvisibility=hidden,-Wall,-Wextra"]


@dataclass
class NinjaFile:
    """The rules and edges of one build. `directory` receives build.ninja, the objects and the linked modules."""

    root: Path
    directory: Path
    settings: Settings
    cxx: Command
    suffix: str = sysconfig.get_config_var("EXT_SUFFIX")
    _edges: set[Path] = field(default_factory=set)

    def write(self, modules: Iterable[str]) -> Path:
        """Writes build.ninja for `modules`, a selection of "_C", "_cuda", "_cuemu" and "_cuemu_check", and returns its
        path."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "build.ninja"
        with path.open("w") as stream:
            self._ninja = Writer(stream, width=120)
            self._rules("_cuda" in modules)
            for module in modules:
                {
                    "_C": self._cpu_module,
                    "_cuda": self._cuda_module,
                    "_cuemu": self._cuemu_module,
                    "_cuemu_check": self._cuemu_check_module,
                }[module]()
        return path

    def module_path(self, module: str) -> Path:
        return self.directory / (module + self.suffix)

    def _rules(self, cuda: bool) -> None:
        python = ["-isystem" + pybind11.get_include(), "-isystem" + python_include()]
        self._ninja.variable("ninja_required_version", "1.5")
        self._ninja.variable("builddir", str(self.directory))
        self._ninja.variable("cxx", join(with_cache(self.cxx)))
        bf16 = ["-DNNZOO_AVX512_BF16"] if "avx512_bf16" in self._isas() else []
        self._ninja.variable("cxxflags", join([*self._flags(), *bf16, "-Icsrc"]))
        self._ninja.variable("pythonflags", join(python))
        self._rule("cxx", "$cxx $cxxflags $flags -MMD -MF $out.d -c $in -o $out", depfile="$out.d")
        self._rule("link", f"{join(self.cxx)} -shared -fopenmp $in -o $out")
        if cuda:
            nvcc = find_nvcc()
            self._ninja.variable("nvcc", join(with_cache((nvcc,))))
            werror = ["-Werror=all-warnings"] if self.settings.werror else []
            self._ninja.variable("nvccflags", join([*NVCC_FLAGS, *werror, *self._gencode(), "-Icsrc"]))
            self._ninja.variable("cudaflags", join(cuda_include_flags(nvcc)))
            self._rule("nvcc", "$nvcc $nvccflags -MD -MF $out.d -c $in -o $out", depfile="$out.d")
            self._rule("nvcc_link", f"{nvcc} -shared -cudart static -Xcompiler -fopenmp $in -o $out")

    def _rule(self, name: str, command: str, depfile: str | None = None) -> None:
        self._ninja.rule(name, command, description=f"{name} $out", depfile=depfile, deps="gcc" if depfile else None)

    def _flags(self) -> list[str]:
        return [*COMMON_FLAGS, *(["-Werror"] if self.settings.werror else [])]

    def _isas(self) -> dict[str, list[str]]:
        """Compiler flags by ISA; without avx512_bf16 where the compiler is older than those instructions."""
        if not targets_x86(self.cxx):
            return BASELINE
        return {isa: flags for isa, flags in X86_ISAS.items() if isa != "avx512_bf16" or accepts(self.cxx, flags)}

    def _gencode(self) -> list[str]:
        """Machine code for every architecture, and PTX of the newest portable one for GPUs that come later."""
        archs = self.settings.cuda_archs
        flags = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
        portable = max(filter(str.isdigit, archs), key=int, default=None)
        return flags + ([f"-gencode=arch=compute_{portable},code=compute_{portable}"] if portable else [])

    def _cpu_module(self) -> None:
        isas = self._isas()
        once = [*self._sources("ops/*/*_bind.cpp"), *self._sources("module.cpp")]
        objects = [self._compile(source) for source in once if not source.name.endswith("_cuda_bind.cpp")]
        objects += [self._compile_common(source) for source in self._sources("common/*.cpp")]
        for source in self._sources("ops/*/*_cpu.cpp"):
            for isa, flags in isas.items():
                objects.append(self._compile(source, isa, [f"-DNNZOO_ISA={isa}", *flags]))
        self._link("_C", "link", objects)

    def _cuda_module(self) -> None:
        archs = ";".join(self.settings.cuda_archs)
        flags = ["$cudaflags", "-DNNZOO_CUDA_MODULE=_cuda", f'-DNNZOO_CUDA_ARCHS="{archs}"']
        objects = [self._compile(source, "cuda", flags) for source in self._cuda_bindings()]
        objects += [self._edge("nvcc", source, "cuda") for source in self._sources("ops/*/*_cuda.cu")]
        self._link("_cuda", "nvcc_link", [self._compile_common(BIND), *objects])

    def _cuemu_module(self) -> None:
        flags = ["-DNNZOO_CUEMU", "-DNNZOO_CUDA_MODULE=_cuemu", "-Wno-unknown-pragmas"]
        sources = [*self._cuda_bindings(), *self._sources("cuemu/*.cpp")]
        objects = [self._compile(source, "cuemu", flags) for source in sources]
        # As nvcc does, contract a * b + c to one rounding: results then differ less from a GPU's.
        fused = X86_ISAS["avx2"] if targets_x86(self.cxx) else []
        for source in self._sources("ops/*/*_cuda.cu"):
            objects.append(self._compile(source, "cuemu", [*flags, *fused, "-x", "c++"]))
        self._link("_cuemu", "link", [self._compile_common(BIND), *objects])

    def _cuemu_check_module(self) -> None:
        """Kernels in check mode, with room between shared arrays. What is not checked comes first, as
        csrc/cuemu/check/README.md says."""
        flags = ["-DNNZOO_CUEMU", "-DNNZOO_CUDA_MODULE=_cuemu_check", "-Wno-unknown-pragmas"]
        sources = [*self._cuda_bindings(), *self._sources("cuemu/*.cpp"), *self._sources("cuemu/check/*.cpp")]
        objects = [self._compile(source, "cuemu_check", flags) for source in sources]
        flags += (self.root / "csrc/cuemu/check/flags").read_text().split()
        steps = [
            "$cxx $cxxflags $flags -MMD -MF $out.d -MQ $out -S $in -o $out.s",
            f"{join([sys.executable, str(RED_ZONES)])} $out.s",
            f"{join(self.cxx)} -c $out.s -o $out",
        ]
        self._rule("cxx_apart", " && ".join(steps), depfile="$out.d")
        for source in self._sources("ops/*/*_cuda.cu"):
            objects.append(self._edge("cxx_apart", source, "cuemu_check", [*flags, "-x", "c++"]))
        self._link("_cuemu_check", "link", [self._compile_common(BIND), *objects])

    def _sources(self, pattern: str) -> list[Path]:
        return sorted(path.relative_to(self.root) for path in (self.root / "csrc").glob(pattern))

    def _cuda_bindings(self) -> list[Path]:
        return [*self._sources("cuda_module.cpp"), *self._sources("ops/*/*_cuda_bind.cpp")]

    def _compile_common(self, source: Path) -> Path:
        return self._compile(source, flags=[f'-DNNZOO_BUILD_FLAGS="{" ".join(self._flags())}"'])

    def _compile(self, source: Path, variant: str = "once", flags: Iterable[str] = ()) -> Path:
        sees_python = source.stem.endswith("bind") or source.stem.endswith("module")
        return self._edge("cxx", source, variant, [*flags, *(["$pythonflags"] if sees_python else [])])

    def _edge(self, rule: str, source: Path, variant: str, flags: Iterable[str] = ()) -> Path:
        target = self.directory / variant / source.with_suffix(".o")
        if target not in self._edges:
            self._edges.add(target)
            words = " ".join(flag if flag.startswith("$") else quote(flag) for flag in flags)
            tools = [str(RED_ZONES)] if rule == "cxx_apart" else None
            self._ninja.build(str(target), rule, str(source), tools, variables={"flags": words})
        return target

    def _link(self, module: str, rule: str, objects: list[Path]) -> None:
        self._ninja.build(str(self.module_path(module)), rule, list(map(str, objects)))
        self._ninja.default(str(self.module_path(module)))
