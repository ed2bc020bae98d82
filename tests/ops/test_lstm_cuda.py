"""The persistent kernels of `lstm` beyond the samples of the matrix, on the emulator: which calls they take, several
batch tiles in a cluster, more steps than one launch of packed input counts."""

import functools

import pytest
import torch

import nnzoo_fast
from nnzoo_fast import _extension
from nnzoo_fast.ops.lstm import cuda
from nnzoo_fast.ops.lstm.spec import SPEC, call_of, packed_call
from nnzoo_fast.spec import Maker, Sample, allowed_for, errors_of, oracle_and_stock, run_with_gradients

pytestmark = pytest.mark.skipif(
    _extension.load("_cuemu") is None, reason="the emulator is part of development builds only (make build)"
)


@pytest.fixture
def tiles(monkeypatch):
    """The batch tiles of each launch of the recurrent kernels, 0 for those that go step by step."""
    seen = []

    def call(tensor, kernel, *args):
        seen.extend(args[-1:] if kernel in ("lstm_forward_steps", "lstm_backward_steps") else ())
        return real(tensor, kernel, *args)

    real = cuda.call
    monkeypatch.setattr(cuda, "call", call)
    return seen


def results(backend, make, dtype):
    with nnzoo_fast.backend(backend):
        return sum(run_with_gradients(SPEC.function, make(Maker(dtype))), [])


def assert_as_step_by_step(make, dtype):
    for found, expected in zip(results("cuemu", make, dtype), results("cuemu_steps", make, dtype), strict=True):
        torch.testing.assert_close(found, expected)


def assert_as_promised(make, dtype):
    """As near to the oracle as the matrix asks."""
    call = make(Maker(dtype))
    oracle, stock = oracle_and_stock(SPEC, call)
    allowed = allowed_for(SPEC, Sample("", make), call, dtype, errors_of(stock, oracle))
    with nnzoo_fast.backend("cuemu"):
        errors = errors_of(run_with_gradients(SPEC.function, call), oracle)
    assert all(error.within(most) for error, most in zip(errors, allowed, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_several_tiles_and_slices(tiles, monkeypatch, dtype):
    monkeypatch.setattr(cuda, "_H200_MULTIPROCESSORS", 2)
    assert_as_promised(lambda maker: call_of(maker, 3, 37, 5, 40), dtype)
    assert tiles == [4, 4]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_more_steps_than_a_launch_counts(tiles, bidirectional):
    lengths = (903, 901, 451, 450, 2)
    make = functools.partial(packed_call, lengths=lengths, in_features=2, hidden=3, bidirectional=bidirectional)
    assert_as_step_by_step(make, torch.float64)
    assert set(tiles) == {0, 1}


@pytest.mark.parametrize(
    "dtype, hidden", [(torch.float64, 256), (torch.float32, 512), (torch.float16, 512), (torch.bfloat16, 512)], ids=str
)
def test_the_widest_state_of_a_cluster(tiles, dtype, hidden):
    for size, expected in ((hidden, 1), (hidden + 1, 0)):
        call = call_of(Maker(dtype, grad=False), 1, 1, 1, size)
        call.run(lambda *args, **kwargs: SPEC.function(*args, **kwargs, backend="cuemu"))
        assert tiles.pop() == expected


def test_the_widest_state_is_right(tiles):
    assert_as_promised(lambda maker: call_of(maker, 2, 2, 3, 512), torch.float16)
    assert tiles == [1, 1]


@pytest.mark.parametrize("dtype, hidden", [(torch.float32, 300), (torch.float64, 135)], ids=str)
def test_weights_in_shared_memory(tiles, dtype, hidden):
    assert_as_step_by_step(lambda maker: call_of(maker, 2, 9, 3, hidden, 1, True), dtype)
    assert tiles == [1, 1, 0, 0]


def test_a_wrong_result_fails(monkeypatch):
    """The negative control: kernels that count one step less than there are."""
    real = cuda.Direction.shape.fget
    shorter = property(lambda self: (real(self)[0] - 1, *real(self)[1:]))
    monkeypatch.setattr(cuda.Direction, "shape", shorter)
    with pytest.raises(AssertionError):
        assert_as_step_by_step(lambda maker: call_of(maker, 3, 2, 5, 40), torch.float64)
