"""`tune_allocator`: let the C library keep the memory of freed tensors."""

import ctypes
import platform

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_DEFAULT_MMAP_MAX = 65536


def tune_allocator(enable: bool = True) -> bool:
    """Make glibc keep freed memory for the next tensor instead of returning it to the system.

    By default each tensor above 32 MB is mapped anew, and every call that returns one pays a page fault per 4 KB.
    Tuned, the process keeps its peak memory until it ends, plus, before glibc 2.38, a few tensors of each size: their
    first calls still map. It changes the whole process, NumPy included, so nothing calls it for you; when two libraries
    are compared, both must run with the same setting.

    Args:
        enable: False sets fixed thresholds near those that glibc's adaptive rule reaches (map above 32 MB, trim above
            64 MB); the rule itself can't be re-armed.

    Returns:
        Whether the setting took effect: False where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    if enable:
        settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}
    else:
        settings = {_M_MMAP_MAX: _DEFAULT_MMAP_MAX, _M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 64 << 20}
    return all([mallopt(parameter, value) == 1 for parameter, value in settings.items()])
