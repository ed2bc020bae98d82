"""Cooperative groups."""

import numpy as np
import pytest


@pytest.mark.parametrize("size", [32, 8, 1])
def test_tiles(kernels, order, size):
    values, out = np.random.default_rng(0).integers(0, 12, 96).astype(np.int32), np.zeros((12, 96), np.int32)
    kernels.run_tiles(values, out, 96, size)
    tiles, ranks = values.reshape(-1, size), np.arange(size)
    bits = 1 << ranks.astype(np.uint64)

    def in_tiles(rows):
        return np.broadcast_to(np.asarray(rows).reshape(len(tiles), -1), tiles.shape).astype(np.int64).ravel()

    assert (out[0] == np.tile(ranks, len(tiles))).all()
    assert (out[1] == in_tiles(np.arange(len(tiles)) * 1000 + len(tiles))).all()
    assert (out[2] == in_tiles(tiles[:, -1])).all()
    assert (out[3] == tiles[:, ranks ^ (1 % size)].ravel()).all()
    assert (out[4] == tiles[:, np.minimum(ranks + 1, size - 1)].ravel()).all()
    assert (out[5].view(np.uint32) == in_tiles((tiles % 2 * bits).sum(1))).all()
    assert (out[6] == in_tiles((tiles == 3).any(1) + 2 * (tiles < 10).all(1))).all()
    assert (out[7] == in_tiles(tiles.sum(1))).all() and (out[8] == in_tiles(tiles.max(1))).all()
    assert (out[9] == tiles.cumsum(1).ravel()).all() and (out[10] == (tiles.cumsum(1) - tiles).ravel()).all()
    same = [[int(bits[row == value].sum()) for value in row] for row in tiles]
    assert (out[11].view(np.uint32) == np.array(same).ravel()).all()


def test_a_function_of_any_group(kernels, order):
    values, out = np.random.default_rng(1).integers(0, 100, 64).astype(np.int32), np.zeros((3, 64), np.int32)
    kernels.run_sums_of_groups(values, out)
    assert out[0][0] == values.sum()
    assert (out[1][::32] == values.reshape(2, 32).sum(1)).all()
    assert (out[2][::4] == values.reshape(16, 4).sum(1)).all()


def test_aggregated_atomics(kernels, order):
    values, out = np.arange(64, dtype=np.int32), np.zeros(64, np.int32)
    total, atomics = np.zeros(1, np.int32), np.zeros(1, np.int32)
    kernels.run_aggregated_atomics(values, total, atomics, out)
    taken = values % 3 == 0
    assert total[0] == taken.sum() and atomics[0] == 2  # one per warp
    assert sorted(out[taken]) == list(range(taken.sum())) and (out[~taken] == -1).all()


def test_partitions(kernels, order):
    values, out = np.random.default_rng(2).integers(0, 5, 32).astype(np.int32), np.zeros((5, 32), np.int32)
    kernels.run_partitions(values, out)
    assert (out[0] == [(values[:i] == values[i]).sum() for i in range(32)]).all()
    assert (out[1] == [(values == value).sum() for value in values]).all()
    odd = values % 2 == 1
    assert (out[2] == np.where(odd, values[odd].sum(), values[~odd].sum())).all()
    assert (out[3] == np.where(odd, values[odd][0], values[~odd][0])).all()
    assert (out[4] == 1).all()


def test_copies_of_a_group(kernels, order):
    values, out = np.arange(100, dtype=np.float32), np.zeros(64, np.float32)
    kernels.run_copy_with_group(values, out, 1)
    assert (out == values[:64]).all()
    kernels.run_copy_with_group(values, out, 0)
    assert np.isnan(out).all()


def test_grid_group(kernels, order):
    values = np.random.default_rng(3).integers(0, 100, 12 * 64).astype(np.int32)
    out = np.zeros_like(values)
    kernels.run_sum_over_grid(values, np.zeros(12, np.int32), out)
    assert (out == values.sum()).all()


def test_cluster_group(kernels, order):
    out = np.zeros(8, np.int32)
    kernels.run_rotate_in_cluster(out)
    before = np.array([3, 0, 1, 2])
    assert (out == np.concatenate([before * 11, before * 11 + 4])).all()
