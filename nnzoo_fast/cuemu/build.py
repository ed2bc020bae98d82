"""A stranger's file becomes a program that runs one of its kernels, or its own main function."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from nnzoo_fast.cuemu import cache, compiler, red_zones
from nnzoo_fast.cuemu.errors import CompileError, UsageError
from nnzoo_fast.cuemu.rewrite import MAIN, Kernel, Rewritten, rewrite

# What nvcc defines. The emulator stands for compute capability 9.0.
_NVCC = ["-D__CUDACC__", "-D__NVCC__", "-D__CUDA_ARCH__=900"]
_ENTRY = "the command line"  # the file's name in what the compiler says of the generated entry


@dataclass(frozen=True)
class Source:
    """A `.cu` file; `includes` are folders with headers, `defines` macros as "NAME" or "NAME=VALUE"."""

    path: Path
    includes: tuple[Path, ...] = ()
    defines: tuple[str, ...] = ()

    def shown(self, file: str) -> str:
        """A file's name as the user writes it; the compiler's names are absolute, the emulator's without folder."""
        if file in (str(self.path.absolute()), self.path.name):
            return str(self.path)
        return os.path.relpath(file) if file.startswith(f"{Path.cwd()}{os.sep}") else file


def program(source: Source, kernel: str | None, checked: bool) -> Path:
    """The program that runs `kernel` ("name" or "name<arguments>"), or the file's main function if that is None.

    Compiled if the cache does not have it: its key is the preprocessed text, so every header counts.

    Raises:
        UsageError: no such file, kernel or main function.
        CompileError: the compiler refuses the file.
    """
    text = _preprocess(source, _mode_flags(checked))
    digest = hashlib.sha256(compiler.toolchain_key().encode())
    digest.update(json.dumps([text, kernel, checked]).encode(errors="surrogatepass"))

    def make(folder: Path) -> None:
        _compile(source, text, kernel, checked, folder)

    return cache.entry(f"program-{digest.hexdigest()[:32]}", make) / "program"


def _mode_flags(checked: bool) -> list[str]:
    return [f"@{compiler.sources() / 'cuemu/check/flags'}"] if checked else ["-O2", "-g1"]


def _preprocess(source: Source, flags: list[str]) -> str:
    path = source.path
    if not path.is_file():
        raise UsageError(f"{path} is not a file" if path.exists() else f"there is no file {path}")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path} may not be read")
    root = compiler.sources()
    own = root / "cuemu/command"
    command = [*compiler.compiler(), *compiler.LANGUAGE, *flags, *_NVCC, *(f"-D{define}" for define in source.defines)]
    command += [f"-I{folder.absolute()}" for folder in source.includes]
    command += ["-isystem", own / "include", "-isystem", root, "-include", own / "prelude.h"]
    try:
        return compiler.run(*command, "-x", "c++", "-E", path.absolute())
    except CompileError as error:
        raise CompileError(_as_given(str(error), path)) from None


def _compile(source: Source, text: str, kernel: str | None, checked: bool, folder: Path) -> None:
    root = compiler.sources()
    rewritten = rewrite(text, lambda file: not file.startswith(f"{root}{os.sep}"), _words(text))
    generated = folder / "program.cpp"
    command = [*compiler.compiler(), *compiler.LANGUAGE, *_mode_flags(checked), "-fdiagnostics-color=never"]
    try:
        generated.write_text(f"{rewritten.text}\n{_entry(source.path, kernel, rewritten)}")
    except UsageError:  # a mistake in the file may hide the kernel: the compiler's words come first
        generated.write_text(rewritten.text)
        try:
            compiler.run(*command, "-fsyntax-only", "-x", "c++-cpp-output", generated)
        except CompileError as error:
            raise CompileError(_as_given(str(error), source.path)) from None
        raise
    assembly = folder / "program.s"
    try:
        compiler.run(*command, "-x", "c++-cpp-output", "-S", generated, "-o", assembly)
        if checked:
            assembly.write_text(red_zones.apart(assembly.read_text()))
        compiler.run(*compiler.compiler(), "-c", assembly, "-o", folder / "program.o")
    except CompileError as error:
        _blame_name(str(error), kernel, rewritten.kernels)
        raise CompileError(_as_given(str(error), source.path)) from None
    # The emulator's objects first: of templates that both use, the copy that is not checked must win.
    objects = [*compiler.runtime_objects(), folder / "program.o"]
    try:
        compiler.run(*compiler.compiler(), "-pthread", *objects, "-ldl", "-o", folder / "program")
    except CompileError as error:
        raise CompileError(_as_given(str(error), source.path)) from None
    for made in (assembly, folder / "program.o"):
        made.unlink()


def _words(text: str) -> dict[str, str]:
    """What CUDA's qualifiers stand for, which prelude.h tells in strings."""
    literals = re.search(r"cuemu_words\[\] = \{(.*?)\};", text, re.DOTALL).group(1)
    found = [json.loads(literal) for literal in re.findall(r'"(?:[^"\\]|\\.)*"', literals)]
    return dict(zip(found[::2], found[1::2], strict=True))


def _entry(path: Path, kernel: str | None, rewritten: Rewritten) -> str:
    if kernel is None:
        if not rewritten.has_main:
            raise UsageError(f"{path} has no main function: name a kernel, {_listed(path, rewritten.kernels)}")
        call = f"::cuemu::command::run_program(&{MAIN}, count, words)"
    else:
        found, name = _resolve(path, kernel, rewritten.kernels)
        texts = f"{json.dumps(kernel)}, {json.dumps(f'{kernel}({found.parameters})')}"
        call = f"::cuemu::command::run_kernel([] {{ ::cuemu::command::call({texts}, &{name}); }})"
    main = f"int main([[maybe_unused]] int count, [[maybe_unused]] char** words) {{ return {call}; }}"
    return f'# 1 "{_ENTRY}"\n{_clusters(rewritten.kernels)}{main}\n'


def _clusters(kernels: tuple[Kernel, ...]) -> str:
    """The registration of the kernels that have __cluster_dims__."""
    sizes = [f"{{{json.dumps(kernel.name)}, dim3({kernel.cluster})}}" for kernel in kernels if kernel.cluster]
    if not sizes:
        return ""
    name = "::cuemu::command::ClusterDims cuemu_clusters_of_the_file[]"
    register = f"::cuemu::command::Clusters cuemu_clusters(cuemu_clusters_of_the_file, {len(sizes)})"
    return f"static const {name} = {{{', '.join(sizes)}}}; static const {register}; "


def _resolve(path: Path, wanted: str, kernels: tuple[Kernel, ...]) -> tuple[Kernel, str]:
    """The kernel, and its name with its namespaces; what the user wrote of them is left as it is."""
    match = re.fullmatch(r"\s*((?:\w|::)+)\s*(<.*>)?\s*", wanted, re.DOTALL)
    if not match:
        raise UsageError(f"--kernel {wanted!r} is no kernel's name; write it as name or name<arguments>")
    name, arguments = match.group(1).removeprefix("::"), match.group(2)
    candidates = {kernel.name: kernel for kernel in kernels if f"::{kernel.name}".endswith(f"::{name}")}
    candidates = candidates or {k.name: k for k in kernels if k.name.split("::")[-1] == name.split("::")[-1]}
    if not candidates:
        raise UsageError(f"{path} has no kernel {wanted!r}; {_listed(path, kernels)}")
    if len(candidates) > 1 and "::" not in name:
        raise UsageError(f"--kernel {wanted!r} could be {' or '.join(candidates)}")
    kernel = next(iter(candidates.values()))
    if arguments and not kernel.template:
        raise UsageError(f"--kernel {wanted!r}: {kernel.name} is no template")
    full = kernel.name if len(candidates) == 1 and f"::{kernel.name}".endswith(f"::{name}") else name
    return kernel, f"::{full}{arguments or ('<>' if kernel.template else '')}"


def _listed(path: Path, kernels: tuple[Kernel, ...]) -> str:
    names = list(dict.fromkeys(kernel.name + ("<...>" if kernel.template else "") for kernel in kernels))
    return f"it has {', '.join(names)}" if names else "it has none (no __global__ function)"


def _as_given(message: str, path: Path) -> str:
    return message.replace(str(path.absolute()), str(path))


def _blame_name(message: str, kernel: str | None, kernels: tuple[Kernel, ...]) -> None:
    """Where the compiler's first error is in the entry, the kernel was not named as it can be instantiated."""
    first = re.search(r"^(.*):\d+:\d+: (?:fatal )?error: (.*)$", message, re.MULTILINE)
    if first and first.group(1) == _ENTRY:
        named = [str(k) for k in kernels if kernel and k.name.split("::")[-1] in re.findall(r"\w+", kernel)]
        why = "" if "no matching function for call to" in first.group(2) else f": {first.group(2)}"
        raise UsageError(
            f"--kernel {kernel!r} can't be instantiated{why}; templates are named as instantiated, such as tile<32>, "
            f"and this is {' or '.join(named)}"
        )
