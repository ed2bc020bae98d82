"""Where the packed GEMM beats stock torch, as measured: the shipped tables behind `pays`.

Stock torch runs float32 and float64 products on MKL, which is near the peak of Intel CPUs and of AMD's Zen 4, but uses
a third of Zen 5; bfloat16 goes to oneDNN, which, like the kernels here, multiplies in bfloat16 where the CPU can.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from nnzoo_fast import _compat, _extension
from nnzoo_fast.backends import Verdict

FEW_ROWS = 16
"""Up to so many rows the weight is streamed, not packed."""

FEW_ROWS_WEIGHT = 2**18
"""With few rows, a weight of so many values: from here on 1.1 to 4.5 times stock torch's speed on Zen 4, inference and
training; below, 0.5 to 0.9 times, since the call itself takes the time."""

WINS_FROM = {
    ("AuthenticAMD", 26): 2**22,  # Zen 5: MKL at 28-38 % of peak; below, the call takes as long as the product
    ("AuthenticAMD", 25): 2**28,  # Zen 4: 0.92x at 512^3, 1.06x at 1024^3, 1.14x at 2048^3 with 2 threads
}
"""By vendor and family: the multiply-adds from which a product of more than FEW_ROWS rows wins."""

BF16_WINS_FROM = {
    ("AuthenticAMD", 25): 0,  # Zen 4: 1.0x to 2.0x forward, 0.95x to 1.2x training, with 1 and 2 threads
}
"""The same for bfloat16 where both sides multiply in it."""


def identity(cpuinfo: str) -> tuple[str, int]:
    """Vendor and family from the text of /proc/cpuinfo; ("", 0) where it doesn't say."""
    vendor = re.search(r"^vendor_id\s*: (.*)$", cpuinfo, re.MULTILINE)
    family = re.search(r"^cpu family\s*: (\d+)$", cpuinfo, re.MULTILINE)
    return (vendor[1], int(family[1])) if vendor and family else ("", 0)


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


CPU = identity(_cpuinfo())


def onednn_keeps_bf16() -> bool:
    """Whether oneDNN, behind torch's operators, has bfloat16 products on this CPU that the kernels here don't match."""
    return _compat.CPU_MULTIPLIES_BF16 and not (_extension.MULTIPLIES_BF16 and CPU in BF16_WINS_FROM)


def gemm_pays(rows: int, multiply_adds: int, dtype: torch.dtype, training: bool = False) -> Verdict:
    """Whether a product of `rows` rows with so many multiply-adds is expected to beat stock torch on this CPU.

    `training`: gradients are wanted.
    """
    if rows <= FEW_ROWS:
        if multiply_adds < rows * FEW_ROWS_WEIGHT:
            return False, f"a weight of under {FEW_ROWS_WEIGHT} values is multiplied in the time that a choice takes"
        if rows == 1 and training:
            return False, "the weight's gradient is an outer product: stock torch writes it as fast"
        return True, f"up to {FEW_ROWS} rows: the weight is streamed once, unpacked"
    if dtype == torch.bfloat16 and onednn_keeps_bf16():
        return False, "stock torch uses this CPU's bfloat16 instructions"
    native = dtype == torch.bfloat16 and _compat.CPU_MULTIPLIES_BF16
    least = (BF16_WINS_FROM if native else WINS_FROM).get(CPU)
    if least is None:
        return False, "no measurements of this CPU are shipped: stock torch's GEMM is trusted"
    if multiply_adds < least:
        return False, f"below {least >> 20} million multiply-adds stock torch's GEMM is as fast on this CPU"
    return True, "packed GEMM with bias and activation in the epilogue"
