"""`tune_allocator`: let the C library keep the memory of freed tensors."""

import ctypes
import os
import platform
from pathlib import Path

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_DEFAULT_MMAP_MAX = 65536

_MADV_HUGEPAGE, _HUGE_PAGE = 14, 2 << 20  # Linux
_NEVER_OVERCOMMITS = "2"

_advised = False
"""Whether the heap's free end is advised to be huge pages."""


def tune_allocator(enable: bool = True, huge_pages: bool = True) -> bool:
    """Make glibc keep freed memory for the next tensor instead of returning it to the system, and in huge pages.

    By default each tensor above 32 MB is mapped anew, and every call that returns one pays a page fault per 4 KB.
    Tuned, the process keeps its peak memory until it ends, plus, before glibc 2.38, a few tensors of each size: their
    first calls still map. It changes the whole process, NumPy included, so nothing calls it for you; when two libraries
    are compared, both must run with the same setting.

    A CPU keeps the addresses of some thousand pages at hand. Rows that are read at random, as messages on a graph are,
    lie in more pages of 4 KB than that, but in few of 2 MB. Only tensors that are made from then on lie in huge pages,
    and as many as the system finds room for.

    Args:
        enable: False sets fixed thresholds near those that glibc's adaptive rule reaches (map above 32 MB, trim above
            64 MB); the rule itself can't be re-armed.
        huge_pages: let Linux back new memory with pages of 2 MB where its setting
            `/sys/kernel/mm/transparent_hugepage/enabled` is "madvise", the usual one. The heap grows by addresses for
            that, half as many as the machine has memory, which show up as virtual memory; pages are taken when they
            are first written to, so what is resident grows by parts of a page. Nothing happens where addresses count
            as memory or are limited (`ulimit -v`), nor on another thread than the main one, whose heap this is.

    Returns:
        Whether the setting took effect: False where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    mallopt = libc.mallopt
    if enable:
        settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}
    else:
        settings = {_M_MMAP_MAX: _DEFAULT_MMAP_MAX, _M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 64 << 20}
    took_effect = all([mallopt(parameter, value) == 1 for parameter, value in settings.items()])
    _advise_heap(libc, enable and huge_pages and took_effect)
    return took_effect


def trim() -> None:
    """Gives what is free back to the system. Memory that comes afterwards is as `tune_allocator` left it."""
    global _advised
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        return
    libc.malloc_trim(0)
    if _advised:  # the free end of the heap went with the rest
        _advised = False
        _advise_heap(libc, True)


def _advise_heap(libc: ctypes.CDLL, wanted: bool) -> None:
    """Grows the heap by a block that is freed at once: its addresses, advised to be huge pages, serve later tensors."""
    global _advised
    if _advised and not wanted:
        libc.malloc_trim(0)
        _advised = False
    if _advised or not wanted or not _addresses_are_free():
        return
    libc.malloc.restype = ctypes.c_void_p
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    block = libc.malloc(ctypes.c_size_t(size))
    if not block:
        return
    begin, end = -(-block // _HUGE_PAGE) * _HUGE_PAGE, (block + size) // _HUGE_PAGE * _HUGE_PAGE
    libc.free(ctypes.c_void_p(block))
    # Another thread's block was a mapping of its own and is gone: nothing is left to be advised.
    if libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_HUGEPAGE) == 0:
        _advised = True


def _addresses_are_free() -> bool:
    """Whether a block costs nothing until it is written to, and nothing writes to it when it is made."""
    import resource  # not on every system

    fills = "MALLOC_PERTURB_" in os.environ or "malloc.perturb" in os.environ.get("GLIBC_TUNABLES", "")
    limits = [resource.getrlimit(of)[0] for of in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    if fills or any(limit != resource.RLIM_INFINITY for limit in limits):
        return False
    try:
        return Path("/proc/sys/vm/overcommit_memory").read_text().strip() != _NEVER_OVERCOMMITS
    except OSError:  # not Linux, or hidden
        return False
