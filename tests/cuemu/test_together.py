"""Blocks that wait for each other: clusters, cooperative grids, spin locks and flags."""

import numpy as np
import pytest


@pytest.mark.parametrize("cluster", [1, 2, 4, 8])
def test_shared_memory_of_a_cluster(kernels, order, cluster):
    values, out = np.arange(16 * 64, dtype=np.int32), np.zeros(16 * 64, np.int32)
    kernels.run_sum_over_cluster(values, out, 16, cluster, 1)
    sums = 1001 * values.reshape(-1, cluster, 64).sum(1, keepdims=True)
    assert (out.reshape(-1, cluster, 64) == sums).all()


def test_a_block_that_ends_takes_its_shared_memory_with_it(kernels, order):
    values, out = np.arange(128, dtype=np.int32), np.zeros(128, np.int32)
    with pytest.raises(RuntimeError, match="has ended"):
        kernels.run_sum_over_cluster(values, out, 2, 2, 0)


def test_atomics_in_a_cluster(kernels, order):
    out = np.zeros(24, np.int32)
    kernels.run_count_in_cluster(out)
    assert (out == 40 * (1 + 2 + 3 + 4 + 5 + 6)).all()


MISTAKES = {
    "a cluster whose barrier is not reached": (
        0,
        r"(?s)wait_for_ever.*deadlock.*block \(0, 0, 0\):.*threads 0-63 wait for the barrier of the cluster \(\d+ of "
        r"128 threads are there\) \(together\.cu:\d+\).*block \(1, 0, 0\):.*wait at __syncthreads",
    ),
    "a rank beyond the cluster": (1, "no block of that rank"),
    "an address that is not shared": (2, "not in the block's shared memory"),
    "a grid that is no multiple of the cluster": (3, "multiple of the cluster"),
    "a cluster of 32 blocks": (4, "at most 16"),
    "an arrival that is never waited for": (5, "between arriving"),
    "a grid barrier without a cooperative launch": (6, "needs a cooperative launch"),
    "more blocks than the GPU holds": (7, "1000 blocks, of which the GPU holds 264"),
    "a block that skips the grid's barrier": (
        8,
        r"(?s)deadlock.*block \(0, 0, 0\), block \(2, 0, 0\):.*barrier of the",
    ),
    "spinning for ever": (9, r"(?s)no progress.*threads 0-4, 6-63 spin \(together\.cu:\d+\)"),
    "spinning for ever in a cluster": (10, r"(?s)no progress.*threads 0-4, 6-63 spin \(together\.cu:\d+\)"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_reported(kernels, order, monkeypatch, what):
    monkeypatch.setenv("CUEMU_SPIN_SECONDS", "1")
    which, message = MISTAKES[what]
    with pytest.raises(RuntimeError, match=message):
        kernels.run_cluster_mistake(which, np.zeros(1024, np.int32))


@pytest.mark.parametrize("blocks, threads", [(1, 64), (7, 32), (40, 33)])
def test_grid_barrier(kernels, order, blocks, threads):
    values = np.random.default_rng(0).integers(0, 100, blocks * threads).astype(np.int32)
    expected = values.copy()
    for _ in range(6):
        expected = np.roll(expected, 1) + np.roll(expected, -1)
    kernels.run_diffuse(values, np.zeros_like(values), blocks, threads, 6)
    assert (values == expected).all()


def test_spin_lock(kernels, order):
    lock, total = np.zeros(1, np.int32), np.zeros(1, np.int32)
    kernels.run_add_under_lock(lock, total, 5)
    assert total[0] == 5 * 96 and lock[0] == 0


@pytest.mark.parametrize("together", [0, 1], ids=["in a block", "in a cooperative grid"])
def test_spinning_on_a_flag(kernels, order, together):
    flag, seen = np.zeros(1, np.int32), np.zeros(1, np.int32)
    kernels.run_wait_for_flag(flag, seen, together)
    assert seen[0] == 7 * 64 * (8 if together else 1)
