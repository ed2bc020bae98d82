"""Wrong kernels end in a report that names the threads and the line."""

import numpy as np
import pytest

WRONG = {
    "a shuffle from a lane outside its mask": (0, r"does not name.*wrong\.cu:\d+"),
    "a shuffle by a lane that its mask does not name": (1, r"__shfl_xor_sync.*mask does not name"),
    "a shuffle that half of its lanes never reach": (
        2,
        r"(?s)deadlock.*threads 0, 2, 4.* wait at __syncthreads \(wrong\.cu:\d+\)"
        r".*1, 3.*__shfl_xor_sync with mask 0xffffffff",
    ),
    "threads of a block at two barriers": (3, r"(?s)divergent barrier.*threads 0-47 .*threads 48-63 "),
    "a barrier against a warp barrier": (
        4,
        r"(?s)deadlock.*threads 0-7 wait at __syncthreads.*threads 8-31 wait at __syncwarp",
    ),
    "a trap": (5, r"trap_at, block \([01], 0, 0\), thread \(37, 0, 0\): __trap"),
    "mma.sync of half a warp": (6, r"(?s)deadlock.*threads 0-15 wait at mma\.sync"),
    "ldmatrix from a misaligned row": (7, "aligned"),
    "cp.async never waited for": (8, "not waited for"),
    "cp.async to a misaligned address": (9, "aligned"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_kernels_are_reported(kernels, order, what):
    which, message = WRONG[what]
    with pytest.raises(RuntimeError, match=message):
        kernels.run_wrong(which, np.zeros(256, np.int32))
    visits = np.zeros(720, np.int32)
    kernels.run_count_threads(visits, np.zeros(720, np.int32), np.zeros(1, np.int32))
    assert (visits == 1).all()  # a failed launch leaves nothing behind
