"""Compiles every Triton kernel for GPUs that aren't there: `python compile_triton.py 80 90` prints a line per kernel.

A process of its own, since a kernel decorated under `TRITON_INTERPRET=1` can't be compiled.
"""

import importlib
import importlib.util
import pkgutil
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from nnzoo_fast import ops


def modules_with_kernels():
    for info in pkgutil.iter_modules(ops.__path__):
        name = f"{ops.__name__}.{info.name}.triton_kernels"
        if info.ispkg and importlib.util.find_spec(name):
            yield info.name, importlib.import_module(name)


def main(capabilities: list[int]) -> None:
    for op, module in modules_with_kernels():
        for case in module.ahead_of_time():
            names = case.kernel.arg_names
            signature = {name: case.signature.get(name, "constexpr") for name in names}
            # Pointers from torch's allocator are divisible by 16; without that the register counts mislead.
            aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n].startswith("*")}
            constants = {(names.index(name),): value for name, value in case.constants.items()}
            source = ASTSource(case.kernel, signature, constants, aligned)
            for capability in capabilities:
                binary = triton.compile(source, target=GPUTarget("cuda", capability, 32))
                size = len(binary.asm["cubin"])
                print(op, case.kernel.__name__, next(iter(case.signature.values())), f"sm_{capability}", size)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
