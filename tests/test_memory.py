"""What calls allocate through torch: their results and nothing else. Counted, not timed; `bench` measures the peak."""

import pytest
import torch
from built import needs_kernels
from torch.profiler import ProfilerActivity, profile

from nnzoo_fast import tune
from nnzoo_fast.spec import Maker, all_specs, outputs_of

pytestmark = needs_kernels
SLACK = 4096
"""Bytes for seeds and the like."""


def allocated(call):
    """The most bytes that torch holds at once for `call()` beyond what it held before, and its results."""
    call()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        results = call()
    held = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most, results


def size(results):
    return sum(out.numel() * out.element_size() for out in outputs_of(results))


def smallest(name):
    """The first call of the sweep that is large enough to tell results from slack."""
    for sample in tune.swept()[name].SWEEP:
        call = sample.make(Maker(grad=False))
        if size(call.run(all_specs()[name].function)) > 2 * SLACK:
            return call
    raise AssertionError(f"{name}: no call of the sweep is large enough")


@pytest.mark.parametrize("name", sorted(tune.swept()))
def test_inference_allocates_its_results_only(name):
    spec, call = all_specs()[name], smallest(name)

    def run():
        with torch.no_grad():
            return spec.function(*call.args, **call.kwargs, backend="cpu")

    most, results = allocated(run)
    assert size(results) <= most <= size(results) + SLACK


def test_a_copy_is_noticed():
    """Negative control."""
    x = torch.ones(64, 64)
    most, results = allocated(lambda: (x + 1) + 1)
    assert most >= 2 * size(results)
