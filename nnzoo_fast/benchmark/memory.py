"""What a call takes of memory at most, beyond what it was given."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch

from nnzoo_fast.allocator import trim

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory(call: Callable[[int], object], device: str = "cpu") -> int | None:
    """Bytes that `call(0)` holds at most beyond what was held before, its results and whatever its kernels allocate
    for themselves included; None where the system doesn't say.

    On the CPU it is resident memory, in whole pages, and what an earlier call left to be used again doesn't count; the
    lesser of two calls is taken.
    """
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call(0)
        return torch.cuda.max_memory_allocated(device) - before
    try:
        return min(_resident_peak(call) for _ in range(2))
    except OSError:
        return None


def _resident_peak(call: Callable[[int], object]) -> int:
    trim()
    CLEAR.write_text("5")  # resets the peak
    before = _resident("VmRSS")
    call(0)
    return max(_resident("VmHWM") - before, 0)


def _resident(what: str) -> int:
    found = re.search(rf"^{what}:\s*(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"no {what} in {STATUS}")
    return int(found[1]) << 10
