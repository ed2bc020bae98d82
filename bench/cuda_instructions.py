"""Which instructions each CUDA kernel claims to use, read from its machine code: tensor cores, wide and asynchronous
copies, barriers between blocks.

    python bench/cuda_instructions.py            writes bench/cuda_instructions.json
    python bench/cuda_instructions.py --check    compares with it

Reads the built `nnzoo_fast._cuda` with cuobjdump, which the CUDA toolkit and Triton's wheel bring. Needs c++filt, no
GPU. The table is of one compiler; a comparison says so where another one is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.cuda_resources import compare, compiler_version, cuobjdump, readable, write  # noqa: E402

TABLE = ROOT / "bench/cuda_instructions.json"
ARCH = re.compile(r"^arch = (sm_\w+)")
FUNCTION = re.compile(r"^\s*Function : (\S+)")
INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)")
CLAIMS = {
    "tensor cores": r"(HMMA|IMMA|DMMA|HGMMA)\b.*",
    "warpgroup products": r"HGMMA\b.*",
    "matrix load": r"LDSM\b.*",
    "asynchronous copy": r"LDGSTS\b.*",
    "bulk copy": r"(UBLKCP|UTMALDG|UTMASTG)\b.*",
    "tensor map load": r"UTMALDG\b.*",
    "tensor map store": r"UTMASTG\b.*",
    "cluster barrier": r"UCGABAR_ARV",
    "128-bit load": r"LDG\.E\.128\b.*",
    "128-bit store": r"STG\.E\.128\b.*",
    "128-bit shared load": r"LDS\.128\b.*",
    "atomic": r"(ATOMG|ATOM|RED)\b.*",
    "local memory": r"(LDL|STL)\b.*",
}


def module_path() -> Path | None:
    """The built module of the CUDA kernels, or None."""
    return next(iter(sorted((ROOT / "nnzoo_fast").glob("_cuda.*.so"))), None)


def parse(listing: str) -> dict[str, dict[str, list[str]]]:
    """{mangled kernel: {arch: claims that its instructions bear out}} of cuobjdump's listing."""
    patterns = {name: re.compile(pattern) for name, pattern in CLAIMS.items()}
    table, arch, claims = {}, "", set()
    for line in listing.splitlines():
        if found := ARCH.match(line):
            arch = found.group(1)
        elif found := FUNCTION.match(line):
            claims = table.setdefault(found.group(1), {}).setdefault(arch, set())
        elif found := INSTRUCTION.match(line):
            claims.update(name for name, pattern in patterns.items() if pattern.fullmatch(found.group(1)))
    return {kernel: {arch: sorted(claims) for arch, claims in archs.items()} for kernel, archs in table.items()}


def measure() -> dict:
    listing = subprocess.run([cuobjdump(), "-sass", str(module_path())], capture_output=True, text=True, check=True)
    table = parse(listing.stdout)
    names = readable(list(table))
    return {names[kernel]: dict(sorted(table[kernel].items())) for kernel in sorted(table, key=names.get)}


def differences(expected: dict, found: dict) -> list[str]:
    return [
        f"{kernel}: {expected.get(kernel)} in the table, now {found.get(kernel)}"
        for kernel in sorted(expected | found)
        if expected.get(kernel) != found.get(kernel)
    ]


def main() -> int:
    if cuobjdump() is None or module_path() is None:
        print("needs cuobjdump and a built nnzoo_fast._cuda")
        return 1
    found = {"nvcc": compiler_version(), "kernels": measure()}
    if "--check" in sys.argv[1:]:
        return compare(TABLE, found, differences)
    return write(TABLE, found)


if __name__ == "__main__":
    sys.exit(main())
