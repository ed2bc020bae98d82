"""Warp collectives."""

import numpy as np
import pytest


def shuffled(values, operand, width):
    lanes = np.arange(32)
    section = lanes // width * width
    index = section + operand % width
    up = np.where(lanes - operand >= section, lanes - operand, lanes)
    down = np.where(lanes + operand < section + width, lanes + operand, lanes)
    xor = np.where(lanes ^ operand < section + width, lanes ^ operand, lanes)
    return np.stack([values[index], values[up % 32], values[down % 32], values[xor % 32]])


@pytest.mark.parametrize("width", [32, 16, 8, 4, 2, 1])
@pytest.mark.parametrize("operand", [0, 1, 5, 16, 31])
def test_shuffles(kernels, order, operand, width):
    values, out = np.random.default_rng(0).integers(0, 1000, 32).astype(np.int32), np.zeros((4, 32), np.int32)
    kernels.run_shuffle(values, out, operand, width)
    assert (out == shuffled(values, operand, width)).all()


def test_shuffle_refuses_a_width_that_is_no_power_of_two(kernels):
    with pytest.raises(RuntimeError, match="width"):
        kernels.run_shuffle(np.zeros(32, np.int32), np.zeros(128, np.int32), 1, 12)


def test_shuffles_of_two_half_warps(kernels, order):
    out, lanes = np.zeros(32), np.arange(32)
    kernels.run_shuffle_in_halves(out)
    assert (out == np.where(lanes < 16, (lanes ^ 1) + 0.5, (lanes ^ 2) - 0.5)).all()


def test_votes_match_and_reduce(kernels, order):
    values = np.random.default_rng(1).integers(0, 8, 32).astype(np.int32)
    out = np.zeros((8, 32), np.uint32)
    kernels.run_vote(values, out)
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    assert (out[0] == bits[values > 3].sum()).all()
    assert (out[1] == 0).all() and (out[2] == 1).all()
    assert (out[3] == [bits[values == v].sum() for v in values]).all()
    assert (out[4] == values.sum()).all() and (out[5] == values.max()).all()
    assert (out[6] == (values > 3).sum()).all() and (out[7] == 1).all()
