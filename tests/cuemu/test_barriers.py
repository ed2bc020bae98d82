"""Barriers of a block and of a warp."""

import numpy as np


def test_barrier(kernels, order):
    values, out = np.arange(64, dtype=np.int32), np.zeros(64, np.int32)
    kernels.run_reverse(values, out, 1)
    assert (out == values[::-1]).all()


def test_missing_barrier_shows(kernels, order):
    # Twice, with other values: what an earlier block left in shared memory must not hide it.
    for start in (100, 200):
        values, out = np.arange(start, start + 64, dtype=np.int32), np.zeros(64, np.int32)
        kernels.run_reverse(values, out, 0)
        assert (out != values[::-1]).any()


def test_syncwarp(kernels, order):
    out = np.zeros(32, np.int32)
    kernels.run_exchange_in_warp(out, 1)
    assert (out == np.arange(32) ^ 16).all()


def test_block_reduce(kernels, order):
    for threads in (32, 96, 1024):
        values, out = (
            np.random.default_rng(2).normal(size=threads).astype(np.float32),
            np.zeros((2, threads), np.float32),
        )
        kernels.run_reduce_block(values, out, threads)
        assert np.allclose(out[0], values.astype(np.float64).sum(), atol=1e-4)
        assert (out[1] == values.max()).all()


def test_threads_that_returned_are_not_waited_for(kernels, order):
    out = np.zeros(64, np.int32)
    kernels.run_barrier_after_return(out)
    assert (out == (np.arange(64) < 48)).all()
