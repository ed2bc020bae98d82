"""The project's CUDA kernels under the checker, forward and backward, on the samples of the test matrix."""

import contextlib
import ctypes
import dataclasses
import itertools
import json
import re
import subprocess
import sys

import checked
import checked_tensors
import matrix
import pytest
import torch

import nnzoo_fast
from bench import cuda_counters, cuda_resources
from nnzoo_fast import _extension, cuemu
from nnzoo_fast.cuemu import operations, red_zones
from nnzoo_fast.ops.linear import cuda_plan
from nnzoo_fast.spec import Call, Maker, run_with_gradients

ORDERS = ("forward", "reverse", "random:5")
SPECS = [spec for spec in matrix.SPECS.values() if matrix.has_backend(spec, "cuemu")]
pytestmark = pytest.mark.skipif(
    checked.CXX is None or not sys.platform.startswith("linux"), reason="needs a C++ compiler on Linux"
)


@pytest.fixture(scope="module")
def module():
    return checked_tensors.build()


def check(module, spec, sample, dtype, rung="cuemu"):
    """The report of one sample, or None where the kernels don't support it."""
    session = operations.Session(module)
    call = sample.make(Maker(dtype))
    operation, args = matrix.reached_by(spec, call)
    row = next((row for row in operation.table if row.name == rung), None)
    if row is None or not row.supports(*args)[0]:
        return None
    with session.open(), nnzoo_fast.backend(**{operation.name: rung}):
        run_with_gradients(spec.function, call)
    return session.report


# What a kernel's type is in its name.
DTYPES = {torch.float32: "float", torch.bfloat16: "__nv_bfloat16"}


def kernels_of(spec, dtype):
    """The templates of all kernels of the operation that nvcc builds for this dtype."""
    table = json.loads(cuda_resources.TABLE.read_text())["kernels"]
    sources = cuda_resources.sources()
    names = [name for source in table if sources[source].parent.name == spec.name for name in table[source]]
    return {template(name) for name in names if DTYPES[dtype] in re.findall(r"\w+", name)}


def template(kernel):
    return cuda_counters.readable(kernel).partition("<")[0]


@contextlib.contextmanager
def tf32_allowed(allowed):
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def never_checked(module, spec, dtype, monkeypatch):
    """Runs every rung on every sample, in one of the schedules each, and again what each kernel needs to have met
    all three. Returns the kernels that have not, with the schedule; there must be no finding.
    """
    ran = {order: set() for order in ORDERS}
    where = {}

    def run(sample, rung, tf32, order):
        monkeypatch.setenv("CUEMU_ORDER", order)
        with tf32_allowed(tf32):
            report = check(module, spec, sample, dtype, rung)
        if report is not None:
            assert report["findings"] == [], (sample.id, rung, order)
            templates = {template(kernel["name"]) for kernel in report["kernels"]}
            ran[order] |= templates
            where.update({name: (sample, rung, tf32) for name in templates - set(where)})

    for index, sample in enumerate(spec.samples):
        for row in matrix.operation_of(spec.name).table:
            if re.fullmatch("cuemu(_.*)?", row.name) and (row.name == "cuemu" or not sample.long):
                run(sample, row.name, index % 2 == 1, ORDERS[index % len(ORDERS)])
    wanted = kernels_of(spec, dtype)
    for order in ORDERS:
        for kernel in sorted(wanted & set(where)):
            if kernel not in ran[order]:
                run(*where[kernel], order)
    return [(kernel, order) for order in ORDERS for kernel in sorted(wanted - ran[order])]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in SPECS])
def test_every_kernel_in_every_schedule_has_no_finding(module, spec, dtype, monkeypatch):
    assert never_checked(module, spec, dtype, monkeypatch) == []


def test_a_kernel_that_no_sample_reaches_is_missed(module, monkeypatch):
    spec = matrix.SPECS["gather_scatter"]
    short = [sample for sample in spec.samples if not sample.long][:3]
    missed = never_checked(module, dataclasses.replace(spec, samples=short), torch.float32, monkeypatch)
    assert {order for _, order in missed} == set(ORDERS) and "merge_kernel" in {kernel for kernel, _ in missed}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in SPECS])
def test_first_sample_in_float16(module, spec, order, monkeypatch):
    monkeypatch.setenv("CUEMU_ORDER", order)
    assert check(module, spec, spec.samples[0], torch.float16)["findings"] == []


@pytest.mark.parametrize("rung", ["cuemu", "cuemu_tensor", "cuemu_vectors", "cuemu_tiled", "cuemu_naive"])
def test_rungs_of_linear(module, rung, monkeypatch):
    """Packed operands, clusters, and slices of the depth, which the samples are too small or too odd for."""
    monkeypatch.setattr(cuda_plan, "SHORTEST_SLICE", 64)
    monkeypatch.setattr(cuda_plan, "EMULATED_MULTIPROCESSORS", 2)
    kernels = set()
    for order, rows in zip(ORDERS, (264, 24, 24), strict=True):
        monkeypatch.setenv("CUEMU_ORDER", order)
        tensors = [Maker(torch.bfloat16).normal(*shape) for shape in ((rows, 40), (136, 40), (136,))]
        session = operations.Session(module)
        with session.open(), nnzoo_fast.backend(rung):
            run_with_gradients(nnzoo_fast.ops.linear, Call((*tensors, "gelu")))
        assert session.report["findings"] == []
        kernels |= {kernel["name"] for kernel in session.report["kernels"]}
    expected = {"cuemu": "hopper::"}.get(rung, rung.replace("cuemu_", "") + "_kernel")
    assert any(expected in kernel for kernel in kernels), kernels
    if rung == "cuemu":  # in both widths
        assert any(", 256, 4, 2>" in kernel for kernel in kernels) and any(
            ", 128, 6, 1>" in kernel for kernel in kernels
        )


class TooShort(operations.Session):
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
def test_an_overrun_is_found(module, spec, monkeypatch):
    monkeypatch.setattr(operations, "Session", TooShort)
    findings = check(module, spec, spec.samples[0], torch.float32)["findings"]
    assert {finding["kind"] for finding in findings} == {"out_of_bounds"}
    assert all("csrc/ops" in finding["file"] or "csrc/common" in finding["file"] for finding in findings)


def test_shared_arrays_are_apart(module):
    """An overrun of one would else end in the next."""
    listed = subprocess.run(["readelf", "-sW", module.__file__], capture_output=True, text=True, check=True).stdout
    symbols = [line.split() for line in listed.splitlines() if " TLS " in line]
    places = sorted({(int(value, 16), int(size, 0), name) for _, value, size, *_, name in symbols})
    arrays = [place for place in places if "kernel" in place[2]]
    assert len(arrays) > 20
    for (begin, size, name), (following, *_) in itertools.pairwise(places):
        if "kernel" in name:
            assert following - (begin + size) >= red_zones.GAP_BYTES, name


def train(x, weight):
    nnzoo_fast.ops.linear(x, weight).sum().backward()


def test_check_of_a_function(module, monkeypatch):
    monkeypatch.setattr(_extension, "part", lambda name: _extension.Part(module, ""))
    x, weight = torch.randn(7, 5, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    report = cuemu.check(train, x, weight)
    assert report.clean and report.kernels and all("csrc" in line.file for line in report.lines)
    torch.testing.assert_close(weight.grad, 3 * x.sum(0).expand(3, 5))  # once in each of the three schedules
    with pytest.raises(nnzoo_fast.BackendError, match="cuemu"):
        cuemu.check(nnzoo_fast.ops.scatter, torch.zeros(3, 4), torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("writes", ["nobody", "torch", "another kernel"])
def test_who_writes_to_an_empty_tensor(module, writes, monkeypatch):
    def function(weight):
        x = torch.empty(7, 5)
        if writes == "torch":
            x.uniform_()
        if writes == "another kernel":
            ctypes.memset(x.data_ptr(), 0, 4 * x.numel())
        nnzoo_fast.ops.linear(x, weight)

    monkeypatch.setattr(_extension, "part", lambda name: _extension.Part(module, ""))
    findings = cuemu.check(function, torch.randn(3, 5), orders=["forward"]).findings
    assert {finding.kind for finding in findings} == ({"uninitialized"} if writes == "nobody" else set())


def test_check_of_a_function_needs_the_kernels_in_check_mode(monkeypatch):
    monkeypatch.setattr(_extension, "part", lambda name: _extension.Part(None, f"nnzoo_fast.{name} is not there"))
    with pytest.raises(cuemu.UsageError, match="_cuemu_check is not there: NNZOO_BUILD_CUEMU=check builds"):
        cuemu.check(train, torch.zeros(2, 2), torch.zeros(2, 2))
    with pytest.raises(TypeError, match="grid and block are for a kernel"):
        cuemu.check(train, grid=1, block=1)


@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in SPECS if spec.counted])
def test_counters_are_as_in_the_table(module, spec):
    """What each rung's kernels ask of memory, on the calls that the READMEs show."""
    table = json.loads(cuda_counters.TABLE.read_text())
    if table["g++"] != (version := cuda_counters.compiler_version()):
        pytest.skip(f"the table is of g++ {table['g++']}, this is {version}")
    problems = cuda_counters.differences(table["operations"], cuda_counters.measure(module, (spec.name,)))
    assert not problems, "\n".join(problems) + "\nrun `python bench/cuda_counters.py` and `make readme`"


def test_every_cuda_source_has_counters():
    folders = {source.parent.name for source in (checked.ROOT / "csrc/ops").glob("*/*_cuda.cu")}
    assert set(json.loads(cuda_counters.TABLE.read_text())["operations"]) == folders


def test_the_check_of_counters_can_fail():
    kernel = {"rungs": "cuda", "load_sectors": 4.0}
    found = {"op": {"call": {"kernel": kernel}}}
    assert cuda_counters.differences(found, found) == []
    assert cuda_counters.differences(found, {"op": {"call": {"kernel": {**kernel, "load_sectors": 4.25}}}})
    assert cuda_counters.differences(found, {"op": {"call": {}}}) and cuda_counters.differences({}, found)
