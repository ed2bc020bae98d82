"""`tune_allocator`, judged by the page faults of tensors that come and go."""

import json
import platform
import resource
import subprocess
import sys

import pytest

import nnzoo_fast

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


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert nnzoo_fast.tune_allocator() is False
    assert nnzoo_fast.tune_allocator(enable=False) is False
