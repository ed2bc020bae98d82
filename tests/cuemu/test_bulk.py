"""mbarriers and bulk copies: linear, tensors with their swizzles, between the blocks of a cluster."""

import numpy as np
import pytest


def aligned(shape, dtype):
    """An array whose first byte is aligned to 128 bytes, full of ones."""
    bytes_needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(bytes_needed + 128, np.uint8)
    begin = -raw.ctypes.data % 128
    array = raw[begin : begin + bytes_needed].view(dtype).reshape(shape)
    array[...] = 1
    return array


def pipelined(kernels, twin, tiles=8):
    values, out = aligned(tiles * 64, np.float32), aligned(tiles * 64, np.float32)
    values[...] = np.arange(tiles * 64)
    kernels.run_double_in_pipeline(values, out, tiles, twin)
    return values, out


def test_pipeline(kernels, order):
    values, out = pipelined(kernels, 0)
    assert (out == 2 * values).all()


def test_missing_waits_show(kernels, order):
    if order == "reverse":  # the consumers are so early that the loading thread waits for ever
        with pytest.raises(RuntimeError, match="deadlock"):
            pipelined(kernels, 1, 2)
    else:
        _, out = pipelined(kernels, 1, 2)
        assert (out == -2).all()  # twice what was there before
    with pytest.raises(RuntimeError, match=r"more arrivals at the mbarrier than it expects \(bulk\.cu:\d+\)"):
        pipelined(kernels, 2)
    values, out = pipelined(kernels, 3)
    assert (out[-64:] == 2 * values[-64:]).all() and (out[:-64] != 2 * values[:-64]).all()


def swizzled(rows, span):
    """The bytes of a box as they lie in shared memory; `rows`: [rows, bytes of a row]. Row by row: in each line of 128
    bytes the pieces of 16 bytes change places, by the line's number."""
    lines = rows.reshape(-1, 16).copy()
    for piece in range(len(lines)):
        line = piece // 8 % (span // 16)
        lines[piece ^ line] = rows.reshape(-1, 16)[piece]
    return lines.reshape(rows.shape)


TYPES = {np.uint8: 0, np.uint16: 1, np.int32: 3, np.float32: 7, np.float64: 8}
BOXES = {
    "1d": ([100], [16], [3], np.float32, 0),
    "1d at the end": ([100], [16], [92], np.float32, 0),
    "2d": ([40, 10], [32, 4], [0, 3], np.uint16, 0),
    "2d beyond two edges": ([40, 10], [16, 8], [-4, -2], np.float32, 0),
    "2d swizzled by 128 bytes": ([64, 40], [64, 32], [0, 4], np.uint16, 3),
    "2d swizzled by 64 bytes": ([64, 40], [32, 32], [32, 0], np.uint16, 2),
    "2d swizzled by 32 bytes": ([64, 40], [8, 32], [16, 20], np.float32, 1),
    "short rows swizzled by 128 bytes": ([64, 40], [32, 16], [32, 30], np.uint8, 3),
    "3d": ([16, 9, 7], [4, 3, 2], [8, 7, 6], np.float64, 0),
    "4d": ([16, 5, 4, 3], [16, 2, 3, 2], [0, 4, 2, 2], np.uint8, 0),
    "5d": ([8, 3, 4, 3, 5], [4, 2, 2, 2, 3], [4, 2, 1, 0, -1], np.int32, 0),
}


@pytest.mark.parametrize("what", BOXES)
def test_tensor_copies(kernels, order, what):
    sizes, box, start, dtype, swizzle = BOXES[what]
    rng = np.random.default_rng(0)
    shape = sizes[::-1]
    source, target = aligned(shape, dtype), aligned(shape, dtype)
    source[...] = rng.integers(2, 200, shape)
    item = source.itemsize
    raw = np.zeros(int(np.prod(box)) * item, np.uint8)
    numbers = [np.array(values, kind) for values, kind in ((sizes, np.uint64), (box, np.uint32), (start, np.int32))]
    strides = np.array([s for s in source.strides[::-1][1:]] or [0], np.uint64)
    kernels.run_move_box(
        len(sizes), source, target, numbers[0], strides, numbers[1], numbers[2], TYPES[dtype], item, swizzle, raw
    )

    expected_box, expected_target = np.zeros(box[::-1], dtype), np.ones(shape, dtype)
    for place in np.ndindex(*box[::-1]):
        index = tuple(p + s for p, s in zip(place, start[::-1], strict=True))
        if all(0 <= i < n for i, n in zip(index, shape, strict=True)):
            expected_box[place] = source[index]
            expected_target[index] = source[index]
    rows = np.frombuffer(expected_box.tobytes(), np.uint8).reshape(-1, box[0] * item)
    expected = swizzled(rows, 16 << swizzle) if swizzle else rows
    assert (raw == expected.ravel()).all()
    assert (raw == rows.ravel()).all() == (swizzle == 0)
    assert (target == expected_target).all() and (expected_target != 1).any()


REFUSED = {
    "a stride that is no multiple of 16": ([40, 10], [16, 4], np.float32, 0, 0, 164),
    "a box row of 12 bytes": ([40, 10], [3, 4], np.float32, 0, 0, 160),
    "a box of 257 rows": ([40, 400], [16, 257], np.float32, 0, 0, 160),
    "a row longer than the swizzle": ([40, 10], [16, 4], np.float32, 1, 0, 160),
    "an address that is not aligned": ([40, 10], [16, 4], np.float32, 0, 4, 160),
}


@pytest.mark.parametrize("what", ["nothing", *REFUSED])
def test_tensor_maps_that_a_driver_refuses(kernels, what):
    sizes, box, dtype, swizzle, offset, stride = REFUSED.get(what, ([40, 10], [16, 4], np.float32, 0, 0, 160))
    memory = aligned(40 * 400, np.float32)
    source = memory.ravel().view(np.uint8)[offset:]
    raw = np.zeros(1 << 16, np.uint8)
    numbers = [np.array(v, kind) for v, kind in ((sizes, np.uint64), ([stride], np.uint64), (box, np.uint32))]

    def run():
        kernels.run_move_box(2, source, source, *numbers, np.zeros(2, np.int32), TYPES[dtype], 4, swizzle, raw)

    if what == "nothing":
        return run()
    with pytest.raises(RuntimeError, match="address, strides or box"):
        run()


def test_copies_in_a_cluster(kernels, order):
    rows, out = aligned((2, 32), np.float32), np.zeros((2, 2, 4, 32), np.float32)
    rows[...] = np.arange(64).reshape(2, 32)
    kernels.run_pass_around(rows, out)
    assert (out[0] == rows[:, None]).all()
    assert (out[1] == rows[:, None] + 100 * np.array([3, 0, 1, 2])[None, :, None]).all()


def test_polling(kernels, order):
    values, out = aligned(32, np.float32), np.zeros(32, np.float32)
    kernels.run_poll(values, out)
    assert (out == 1).all()


MISTAKES = {
    "an mbarrier that was not initialised": (0, "not been initialised"),
    "copies that nobody waits for": (1, "ends before 2 of its asynchronous copies"),
    "a misaligned copy": (2, "aligned to 16 bytes"),
    "a copy of 20 bytes": (3, "multiple of 16 bytes"),
    "bytes that never come": (
        4,
        r"threads 1 wait for an mbarrier \(parity 0: 0 of 2 arrivals and 16 bytes are missing\) \(bulk\.cu:\d+\)",
    ),
    "a map of another rank": (5, "another rank"),
    "a store that nobody waits for": (6, "bulk copies to global memory that it has not waited for"),
    "a misaligned mbarrier": (7, "aligned to 8 bytes"),
    "an mbarrier for nobody": (8, "expects 1 to 1048575"),
    "a copy to a block that is not there": (9, "no block of that rank"),
    "a copy to an mbarrier that was not initialised": (10, "arrives at an mbarrier that has not been initialised"),
    "an mbarrier after its end": (11, "not been initialised"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_reported(kernels, order, what):
    which, message = MISTAKES[what]
    with pytest.raises(RuntimeError, match=message):
        kernels.run_bulk_mistake(which, aligned(128, np.float32))
