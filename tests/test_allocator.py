"""`tune_allocator`, judged by the page faults of tensors that come and go."""

import platform
import resource
import subprocess
import sys

import pytest

import nnzoo_fast

SIZE = 64 << 20
PAGES = SIZE // resource.getpagesize()

PROGRAM = f"""
import resource, statistics, torch
from nnzoo_fast import tune_allocator

def faults(size, calls=20):
    torch.empty(size, dtype=torch.uint8).fill_(1)
    counts = []
    for _ in range(calls):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(size, dtype=torch.uint8).fill_(1)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return statistics.median(counts)  # the system may take idle pages back now and then

print(faults({SIZE}))
print(tune_allocator(), faults({SIZE}))
print(tune_allocator(enable=False), faults({3 * SIZE}))  # larger than what the process has kept by now
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_tuned_memory_is_kept():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, check=True)
    (plain,), (on, tuned), (off, back) = (line.split() for line in run.stdout.strip().splitlines())
    if float(plain) < PAGES / 2:
        pytest.skip("the system backs tensors with huge pages, or another allocator is preloaded")
    assert on == off == "True"
    assert float(tuned) < 0.1 * float(plain)
    assert float(back) > float(plain)


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert nnzoo_fast.tune_allocator() is False
    assert nnzoo_fast.tune_allocator(enable=False) is False
