"""The CUDA kernels beyond the matrix of test_ops.py, which runs them on the emulator in its forward schedule."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import matrix
import pytest
import torch

import nnzoo_fast
from nnzoo_fast import _extension
from nnzoo_fast.spec import Error, Maker, run_with_gradients

ROOT = Path(__file__).resolve().parent.parent
SPECS = [spec for spec in matrix.SPECS.values() if matrix.has_backend(spec, "cuemu")]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ROWS = [
    pytest.param(spec, sample, dtype, id=f"{spec.name}-{name}-{sample.id}")
    for spec in SPECS
    for name, dtype in DTYPES.items()
    for sample in spec.samples
]
needs_emulator = pytest.mark.skipif(
    _extension.load("_cuemu") is None, reason="the emulator is part of development builds only (make build)"
)


def is_supported(spec, sample, dtype):
    operation, args = matrix.reached_by(spec, sample.make(Maker(dtype)))
    return next(row for row in operation.table if row.name == "cuemu").supports(*args)[0]


@needs_emulator
@pytest.mark.parametrize("order", ["reverse", "random:7"])
@pytest.mark.parametrize("spec, sample, dtype", ROWS)
def test_every_schedule_gives_the_same_bits(spec, sample, dtype, order, monkeypatch, poisoned_memory):
    """A difference would be a race; what the forward schedule computes is held against the oracle by the matrix."""
    if not is_supported(spec, sample, dtype):
        return
    results = []
    for schedule in ("forward", order):
        monkeypatch.setenv("CUEMU_ORDER", schedule)
        with nnzoo_fast.backend("cuemu"):
            results.append(sum(run_with_gradients(spec.function, sample.make(Maker(dtype))), []))
    for one, other in zip(*results, strict=True):
        assert torch.equal(torch.nan_to_num(one, nan=123.0), torch.nan_to_num(other, nan=123.0))


@needs_emulator
@pytest.mark.parametrize(
    "spec, sample",
    [pytest.param(spec, sample, id=f"{spec.name}-{sample.id}") for spec in SPECS for sample in spec.samples],
)
def test_float16_equals_the_oracle(spec, sample, poisoned_memory):
    """The CPU backends don't compute in float16, so the matrix does not ask for it."""
    if not is_supported(spec, sample, torch.float16):
        return
    with nnzoo_fast.backend("cuemu"):
        problems = matrix.deviations(spec, sample, torch.float16, spec.function)
    assert not problems, "\n".join(problems)


ORDERS = ("forward", "reverse", "random:7")
RUNGS = [
    pytest.param(spec, row.name, dtype, sample, ORDERS[index % 3], id=f"{spec.name}-{row.name}-{name}-{sample.id}")
    for spec in SPECS
    for row in matrix.operation_of(spec.name).table
    if row.name.startswith("cuemu_")
    for name, dtype in list(DTYPES.items())[:2]
    for index, sample in enumerate(spec.samples)
    if not sample.long
]


@needs_emulator
@pytest.mark.parametrize("spec, rung, dtype, sample, order", RUNGS)
def test_every_rung_equals_the_oracle(spec, rung, dtype, sample, order, monkeypatch, poisoned_memory):
    """The ladder below what `cuemu` runs, and the calls that a rung declines; samples take turns at the schedules."""
    monkeypatch.setenv("CUEMU_ORDER", order)
    operation, args = matrix.reached_by(spec, sample.make(Maker(dtype)))
    row = next(row for row in operation.table if row.name == rung)
    able, reason = row.supports(*args)
    if not able:
        assert reason
        return
    with nnzoo_fast.backend(**{operation.name: rung}):
        problems = matrix.deviations(spec, sample, dtype, spec.function)
    assert not problems, "\n".join(problems)


@needs_emulator
def test_tf32_only_where_torch_allows_it():
    torch.manual_seed(0)
    input, weight = torch.randn(70, 96), torch.randn(40, 96)
    oracle = input.double() @ weight.double().t()

    def error():
        return Error.of(nnzoo_fast.ops.linear(input, weight, backend="cuemu"), oracle).frobenius

    before = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = False
        assert error() < 1e-6
        torch.backends.cuda.matmul.allow_tf32 = True
        assert 1e-5 < error() < 1e-3
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@needs_emulator
@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in SPECS])
def test_the_emulator_is_never_chosen_by_itself(spec):
    operation, args = matrix.reached_by(spec, spec.samples[0].make(Maker()))
    chosen = operation.choose(args)
    assert chosen is None or chosen.name not in ("cuda", "cuemu")


@needs_emulator
def test_an_index_out_of_range_traps():
    """On a GPU nothing waits for the check of an index, so the kernel stops instead of reading elsewhere."""
    from nnzoo_fast.ops.gather_scatter import operation

    graph = nnzoo_fast.Graph(torch.tensor([[0, 1, 2], [1, 0, 1]]), num_nodes=3)
    groups = [group.clone() for group in graph.groups]
    x = torch.randn(3, 5)
    operation(x, None, *groups, "sum", backend="cuemu")
    groups[1][0] = 7
    with pytest.raises(RuntimeError, match="rows_kernel<.*Forward<float, 1>.*__trap"):
        operation(x, None, *groups, "sum", backend="cuemu")


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"bench/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def resources():
    return load_tool("cuda_resources")


@pytest.fixture(scope="module")
def instructions():
    return load_tool("cuda_instructions")


def test_kernels_use_the_instructions_that_they_claim(instructions, resources):
    if reason := resources.missing():
        pytest.skip(reason)
    table, version = json.loads(instructions.TABLE.read_text()), resources.compiler_version()
    if table["nvcc"] != version:
        pytest.skip(f"the table is of nvcc {table['nvcc']}, this is {version}")
    problems = instructions.differences(table["kernels"], instructions.measure())
    assert not problems, "\n".join(problems)


def test_claims_of_the_table(instructions):
    """What the operations' READMEs say of their kernels."""
    table = json.loads(instructions.TABLE.read_text())["kernels"]
    persistent = [kernel for kernel in table if kernel.startswith("persistent_")]
    assert len(persistent) == 12
    for kernel in persistent:
        assert "cluster barrier" in table[kernel]["sm_90a"] and "cluster barrier" not in table[kernel]["sm_80"]
        sixteen_bit = "half" in kernel or "bfloat16" in kernel
        assert ("tensor cores" in table[kernel]["sm_90a"]) == sixteen_bit
    hopper = [kernel for kernel in table if kernel.startswith("hopper::forward_kernel")]
    assert len(hopper) == 12
    for kernel in hopper:
        assert {"bulk copy", "tensor cores"} <= set(table[kernel]["sm_90a"]) and not table[kernel]["sm_80"]
    copying = [kernel for kernel in table if kernel.startswith("tensor::") and ("1>" in kernel or "2>" in kernel)]
    assert copying and all("asynchronous copy" in table[kernel]["sm_90a"] for kernel in copying)
    rows = [kernel for kernel in table if kernel.startswith("rows_kernel<Forward<") and "1>" not in kernel]
    assert rows and all("128-bit load" in table[kernel]["sm_90a"] for kernel in rows)
    hopper = {kernel: table[kernel] for kernel in table if kernel.startswith("hopper::product_kernel<")}
    assert len(hopper) == 16 and not any(archs["sm_80"] for archs in hopper.values())
    for kernel, archs in hopper.items():
        assert {"warpgroup products", "tensor map load", "tensor map store"} <= set(archs["sm_90a"]), kernel
        assert ("cluster barrier" in archs["sm_90a"]) == ("256, 4, 2" in kernel)
    of_any_gpu = {"tensor cores", "asynchronous copy", "matrix load", "128-bit store"}
    for kernel in (kernel for kernel in table if kernel.startswith("tensor_kernel<")):
        assert all(of_any_gpu <= set(claims) for claims in table[kernel].values()), kernel
    for kernel, archs in table.items():
        assert not any("atomic" in claims or "local memory" in claims for claims in archs.values()), kernel


def test_the_instruction_check_can_fail(instructions):
    listing = """arch = sm_90a
\t\tFunction : kernel
        /*0000*/                   HMMA.16816.F32 R4, R8, R12, R4 ;    /* 0x00 */
        /*0010*/              @!P0 LDG.E.128.CONSTANT R4, [R2.64] ;    /* 0x00 */
        /*0020*/                   LDG.E R4, [R2.64] ;    /* 0x00 */
"""
    found = instructions.parse(listing)
    assert found == {"kernel": {"sm_90a": ["128-bit load", "tensor cores"]}}
    assert instructions.differences(found, found) == []
    assert instructions.differences(found, instructions.parse(listing.replace("HMMA", "FFMA")))


def test_no_kernel_of_the_table_spills(resources):
    table = json.loads(resources.TABLE.read_text())["kernels"]
    assert set(table) == set(resources.sources())
    assert not resources.spilling(table)


def test_the_resource_check_can_fail(resources):
    numbers = {"registers": 32, "stack": 0, "shared": 0, "local": 0}
    table = {"op": {"kernel": {"sm_80": numbers}}}
    assert not resources.differences(table, table) and not resources.spilling(table)
    assert resources.differences(table, {"op": {"kernel": {"sm_80": {**numbers, "registers": 33}}}})
    assert resources.differences(table, {"op": {}}) and resources.differences({}, table)
    assert resources.spilling({"op": {"kernel": {"sm_80": {**numbers, "stack": 4}}}})


def test_resources_are_as_in_the_table(resources):
    """Every kernel for every architecture, as built."""
    if reason := resources.missing():
        pytest.skip(reason)
    table, version = json.loads(resources.TABLE.read_text()), resources.compiler_version()
    if table["nvcc"] != version:
        pytest.skip(f"the table is of nvcc {table['nvcc']}, this is {version}")
    problems = resources.differences(table["kernels"], resources.measure_all()["kernels"])
    assert not problems, "\n".join(problems)


@needs_emulator
def test_the_gpu_check_rehearsed(tmp_path):
    """All steps of bench/gpu_check.sh run where there is no GPU, and the check fails when a kernel is wrong."""
    out = tmp_path / "found.json"
    command = ["sh", str(ROOT / "bench/gpu_check.sh"), "--rehearse", "--out", str(out)]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert found["failed"] == [] and sum(found["steps"]["test matrix, cuemu"]["run"].values()) > 10
    assert found["steps"]["emulator, hardware"]["worst"]
    # Random schedules are legal, a wrong one is refused by the emulator: every kernel then fails.
    done = subprocess.run(command, capture_output=True, text=True, env={**environment, "CUEMU_ORDER": "sideways"})
    assert done.returncode == 1 and "CUEMU_ORDER" in done.stdout
