"""`tune_allocator`, judged by the page faults of tensors that come and go."""

import json
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import nnzoo_fast
from nnzoo_fast import allocator

SIZE = 64 << 20
PAGES = SIZE // resource.getpagesize()

WARM_UP, CALLS = 12, 16

PROGRAM = f"""
import json, resource, torch
from nnzoo_fast import tune_allocator

def faults(size):
    counts = []
    for _ in range({WARM_UP + CALLS}):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(size, dtype=torch.uint8).fill_(1)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return counts

plain = faults({SIZE})
on, tuned = tune_allocator(), faults({SIZE})
off, back = tune_allocator(enable=False), faults({3 * SIZE})  # larger than what the process has kept by now
print(json.dumps([plain, on, tuned, off, back]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_tuned_memory_is_kept():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, check=True)
    plain, on, tuned, off, back = json.loads(run.stdout)
    if sum(plain[WARM_UP:]) < CALLS * PAGES / 2:
        pytest.skip("the system backs tensors with huge pages, or another allocator is preloaded")
    assert on is off is True
    # Before 2.38, glibc's aligned allocation leaves a splinter that keeps a freed block from serving the same size
    # again, until its caches of splinters are full: what is kept grows by some tensors, and then no more.
    assert sum(tuned) < 8 * PAGES, tuned
    assert sum(tuned[WARM_UP:]) < 0.01 * sum(plain[WARM_UP:]), tuned
    assert sum(back[WARM_UP:]) > sum(plain[WARM_UP:]), back


HUGE_PROGRAM = f"""
import sys, threading, torch
from nnzoo_fast import tune_allocator
from nnzoo_fast.allocator import trim

def huge():
    rows = open("/proc/self/smaps_rollup").read().splitlines()
    return next(int(row.split()[1]) << 10 for row in rows if row.startswith("AnonHugePages"))

before = huge()
wanted = dict(huge_pages=sys.argv[1] == "True")
elsewhere = threading.Thread(target=tune_allocator, kwargs=wanted)  # has a heap of its own
elsewhere.start()
elsewhere.join()
tune_allocator(**wanted)
trim()
kept = torch.ones({SIZE}, dtype=torch.uint8)
held = huge()
del kept
tune_allocator(enable=False)
print(held - before, huge() - before)
"""


def huge_bytes(wanted: bool) -> list[int]:
    """How many bytes of a new tensor lie in huge pages, and how many are left when the setting is taken back."""
    command = [sys.executable, "-W", "ignore", "-c", HUGE_PROGRAM, str(wanted)]
    return [int(word) for word in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_tensors_lie_in_huge_pages():
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not setting.exists() or "[madvise]" not in setting.read_text():
        pytest.skip("the system backs tensors with huge pages always or never")
    held, left = huge_bytes(True)
    assert held > 0.9 * SIZE
    assert left < 0.1 * SIZE
    assert huge_bytes(False)[0] == 0


def test_memory_that_is_filled_counted_or_limited_is_not_reserved(monkeypatch):
    monkeypatch.setenv("MALLOC_PERTURB_", "7")
    assert not allocator._addresses_are_free()
    monkeypatch.delenv("MALLOC_PERTURB_")
    for limited in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        with monkeypatch.context() as patch:
            patch.setattr(resource, "getrlimit", lambda of, limited=limited: (1 << 40 if of == limited else -1, -1))
            assert not allocator._addresses_are_free()
    monkeypatch.setattr(resource, "getrlimit", lambda of: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for overcommit, free in (("0\n", True), ("2\n", False)):
        monkeypatch.setattr(Path, "read_text", lambda path, said=overcommit: said)
        assert allocator._addresses_are_free() is free

    def hidden(path):
        raise PermissionError(path)

    monkeypatch.setattr(Path, "read_text", hidden)
    assert not allocator._addresses_are_free()


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert nnzoo_fast.tune_allocator() is False
    assert nnzoo_fast.tune_allocator(enable=False) is False
