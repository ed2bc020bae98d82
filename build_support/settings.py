"""What the person who builds may choose, all of it through environment variables."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass


class BuildError(Exception):
    """A setting that can't be met, or a tool that fails; the message says which and why."""


@dataclass(frozen=True)
class Settings:
    """One build's choices.

    cpu: build `_C`; without it the package is pure Python (NNZOO_BUILD_CPU, default 1).
    cuda: build `_cuda`: "auto" when nvcc is found, "1" or an error, "0" never (NNZOO_BUILD_CUDA, default auto).
    cuemu: build `_cuemu`, the CUDA sources run on the CPU, for tests: "0" no, "1" yes, "check" also in check mode, as
        `_cuemu_check` (NNZOO_BUILD_CUEMU, default 0).
    cuda_archs: compute capabilities, each as "80" or "90a" (NNZOO_CUDA_ARCHS, default "80;90a").
    werror: warnings are errors (NNZOO_BUILD_WERROR, default 0: a newer compiler's new warning must not stop a user).
    jobs: parallel compilers, None for ninja's own choice (NNZOO_BUILD_JOBS).
    cxx: the C++ compiler's command, None to look for one (CXX).
    """

    cpu: bool
    cuda: str
    cuemu: str
    cuda_archs: tuple[str, ...]
    werror: bool
    jobs: int | None
    cxx: tuple[str, ...] | None

    @staticmethod
    def from_environment() -> Settings:
        archs = os.environ.get("NNZOO_CUDA_ARCHS") or "80;90a"
        jobs = os.environ.get("NNZOO_BUILD_JOBS")
        if jobs is not None and not (jobs.isdigit() and int(jobs) > 0):
            raise BuildError(f"NNZOO_BUILD_JOBS must be a positive integer, got {jobs!r}")
        return Settings(
            cpu=_choice("NNZOO_BUILD_CPU", "1", ("0", "1")) == "1",
            cuda=_choice("NNZOO_BUILD_CUDA", "auto", ("auto", "0", "1")),
            cuemu=_choice("NNZOO_BUILD_CUEMU", "0", ("0", "1", "check")),
            cuda_archs=tuple(_arch(arch) for arch in archs.split(";")),
            werror=_choice("NNZOO_BUILD_WERROR", "0", ("0", "1")) == "1",
            jobs=int(jobs) if jobs else None,
            cxx=tuple(shlex.split(os.environ.get("CXX", ""))) or None,
        )


def _choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = os.environ.get(name) or default
    if value not in allowed:
        raise BuildError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def _arch(text: str) -> str:
    arch = text.strip()
    if not arch.rstrip("af").isdigit():
        raise BuildError(f'NNZOO_CUDA_ARCHS must look like "80;90a", got {text!r}')
    return arch
