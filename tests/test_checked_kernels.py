"""The project's CUDA kernels under the checker, forward and backward, on the samples of the test matrix."""

import ctypes
import sys

import checked
import checked_tensors
import matrix
import pytest
import torch

import nnzoo_fast
from nnzoo_fast.spec import Maker, run_with_gradients

ORDERS = ("forward", "reverse", "random:5")
SPECS = [spec for spec in matrix.SPECS.values() if matrix.has_backend(spec, "cuemu")]
pytestmark = pytest.mark.skipif(
    checked.CXX is None or not sys.platform.startswith("linux"), reason="needs a C++ compiler on Linux"
)


@pytest.fixture(scope="module")
def parts():
    return checked_tensors.build()


def check(parts, spec, sample, dtype):
    """The report of one sample, or None where the kernels don't support it."""
    session = checked_tensors.Session(*parts)
    call = sample.make(Maker(dtype))  # before: what CPU kernels write, as those that sort a graph, is not told
    with session.open(), nnzoo_fast.backend("cuemu"):
        operation, args = matrix.reached_by(spec, call)
        row = next(row for row in operation.table if row.name == "cuemu")
        if not row.supports(*args)[0]:
            return None
        run_with_gradients(spec.function, call)
    return session.report


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in SPECS])
def test_no_finding(parts, spec, dtype, monkeypatch):
    """Each sample in one of the schedules, so that all of them together meet all three."""
    launches = 0
    for index, sample in enumerate(spec.samples):
        monkeypatch.setenv("CUEMU_ORDER", ORDERS[index % len(ORDERS)])
        report = check(parts, spec, sample, dtype)
        if report is None:
            continue
        assert report["findings"] == [], sample.id
        launches += sum(kernel["launches"] for kernel in report["kernels"])
    assert launches > 0


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in SPECS])
def test_first_sample_in_every_schedule(parts, spec, order, monkeypatch):
    monkeypatch.setenv("CUEMU_ORDER", order)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert check(parts, spec, spec.samples[0], dtype)["findings"] == []


class TooShort(checked_tensors.Session):
    """The negative control: every buffer is told to be one element shorter than it is."""

    def _tell(self, tensor, initialised):
        storage = tensor.untyped_storage()
        if storage.data_ptr() in self.storages or storage.nbytes() == 0:
            return
        self.storages[storage.data_ptr()] = storage
        self.functions.cuemu_check_buffer(
            *map(ctypes.c_size_t, (storage.data_ptr(), storage.nbytes() - tensor.element_size())), 1, b"short"
        )


@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in SPECS])
def test_an_overrun_is_found(parts, spec, monkeypatch):
    monkeypatch.setattr(checked_tensors, "Session", TooShort)
    findings = check(parts, spec, spec.samples[0], torch.float32)["findings"]
    assert {finding["kind"] for finding in findings} == {"out_of_bounds"}
    assert all("csrc/ops" in finding["file"] or "csrc/common" in finding["file"] for finding in findings)
