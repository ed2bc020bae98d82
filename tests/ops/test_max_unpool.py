"""What the matrix can't say of `max_unpool`: indices that are wrong or shared, threads, fx."""

import pytest
import torch
from built import needs_kernels

import nnzoo_fast
from nnzoo_fast import nn
from nnzoo_fast.ops import max_unpool
from nnzoo_fast.ops.max_unpool.spec import stock
from nnzoo_fast.spec import Call, run_with_gradients

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def pooled(layout, kernel=2, stride=None, shape=(3, 17, 12, 14)):
    input = torch.randn(shape).contiguous(memory_format=layout)
    values, indices = torch.nn.functional.max_pool2d(input, kernel, stride, return_indices=True)
    return values.requires_grad_(), indices


@needs_kernels
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bad", [168, -1, 2**62, -(2**63)])
def test_the_first_index_out_of_range_is_named(layout, bad):
    values, indices = pooled(layout)
    indices[2, 3, 1, 1] = indices[2, 16, 5, 6] = bad
    with pytest.raises(RuntimeError, match=f"indices has {bad}, which is out of range"):
        max_unpool(values, indices, 2, backend="cpu")


@needs_kernels
@pytest.mark.parametrize("layout", LAYOUTS)
def test_indices_that_change_behind_autograd_raise(layout):
    values, indices = pooled(layout)
    output = max_unpool(values, indices, 2, backend="cpu")
    indices.data.fill_(168)
    with pytest.raises(RuntimeError, match="indices has 168"):
        output.sum().backward()


@needs_kernels
@pytest.mark.parametrize("layout", LAYOUTS)
def test_overlapping_windows(layout, poisoned_memory):
    """They choose the same elements, so that several values have one place, each with the gradient there."""
    values, indices = pooled(layout, 3, 1)
    call = Call((values, indices, 3, 1))
    with nnzoo_fast.backend("cpu"):
        found = run_with_gradients(max_unpool, call)
    for one, other in zip(sum(found, []), sum(run_with_gradients(stock, call), []), strict=True):
        assert torch.equal(one, other)


@needs_kernels
def test_the_last_of_several_values_stays_on_any_number_of_threads():
    before = torch.get_num_threads()
    values = torch.arange(64 * 900.0).view(1, 64, 30, 30)
    indices = torch.zeros(values.shape, dtype=torch.int64)
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            output = max_unpool(values, indices, 2, backend="cpu").flatten(2)
            assert torch.equal(output[0, :, 0], values[0, :, -1, -1]) and not output[..., 1:].any()
    finally:
        torch.set_num_threads(before)


def test_undoes_our_pooling():
    input = torch.randn(2, 3, 9, 8)
    value, index = nn.MaxPool2d(2, return_indices=True)(input)
    undone = nn.MaxUnpool2d(2)(value, index, output_size=input.shape)
    assert undone.shape == input.shape
    assert torch.equal(undone.amax((2, 3)), input[:, :, :8].amax((2, 3)))


def test_fx_records_stock_operators():
    values, indices = pooled(torch.contiguous_format)
    traced = torch.fx.symbolic_trace(lambda x, i: max_unpool(x, i, (2, 2)))
    assert torch.equal(traced(values, indices), stock(values, indices, 2))
